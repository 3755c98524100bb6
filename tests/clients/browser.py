"""The client for JavaScript in a page, against a running server: browser.py BASE_URL TOKEN

The page is the console's, so that the server's own rules for pages hold; the client is put in as one of its files. What
stands behind the server says what the user's last words tell it (see crates/are/tests/it/clients.rs).
"""

import pathlib
import sys

from playwright.sync_api import sync_playwright

BASE, TOKEN = sys.argv[1], sys.argv[2]
CLIENT = (pathlib.Path(__file__).parents[2] / "clients/are.mjs").read_text()

CASES = {
    "a_page_prompts_and_answers_approvals": """async ({ base, token }) => {
        const { connect } = await import('/are.mjs');
        const seen = [];
        const session = await connect(base, {
            token,
            onApproval: (request) => request.tool === 'fs_write' ? 'allow_once' : 'deny',
            onEvent: (event) => seen.push(event.type),
        });
        const pieces = [];
        for await (const piece of session.prompt('say one two')) pieces.push(piece);
        const called = (await session.prompt('call fs_write').done()).text;
        session.close();
        return pieces.join('') === 'one two' && called.includes('ok') && seen.includes('approval_resolved');
    }""",
    "a_page_is_told_why_it_is_refused": """async ({ base }) => {
        const { connect, AreError } = await import('/are.mjs');
        try {
            await connect(base, { token: 'are_wrong' });
        } catch (error) {
            return error instanceof AreError && error.code === 'ARE-0202' && error.help !== '';
        }
        return false;
    }""",
}

with sync_playwright() as playwright:
    # Only a page of our own server is opened, so the browser's own cage, which root and containers lack, is not missed.
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page()
    page.route(f"{BASE}/are.mjs", lambda route: route.fulfill(body=CLIENT, content_type="text/javascript"))
    page.goto(BASE)
    for name, work in CASES.items():
        assert page.evaluate(work, {"base": BASE, "token": TOKEN}), name
        print(name, flush=True)
    browser.close()
print(f"{len(CASES)} cases hold")
