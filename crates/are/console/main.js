// Begins: takes the one-time code out of the address, finds out who speaks, draws.
import { html, render } from './view.js';
import { arrive, login, speaker } from './api.js';
import { App } from './app.js';
import { Failure } from './parts.js';
import { place } from './router.js';

const root = document.getElementById('app');

async function begin() {
  const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
  // Out of the address before anything else, so that no history keeps it.
  if (code) { history.replaceState(null, '', `${location.pathname}#/`); place.set('/'); }
  let error = null;
  try {
    if (code) await login({ code }); else await arrive();
  } catch (failed) {
    if (failed.status !== 401 && !code) {
      render(html`<main class="login"><div class="login-card"><${Failure} error=${failed} again=${() => location.reload()} /></div></main>`, root);
      return;
    }
    error = failed;
    // An earlier login of this tab may still be good.
    try { await arrive(); } catch { speaker.set(false); }
  }
  render(html`<${App} error=${error} />`, root);
}

begin();
