// Before anybody is logged in.
import { html, useEffect, useState } from '../view.js';
import { login } from '../api.js';
import { Button, Failure, Icon } from '../parts.js';
import { t } from '../words.js';

export function Login({ first }) {
  const [token, setToken] = useState('');
  const [error, setError] = useState(first);
  const [busy, setBusy] = useState(false);
  useEffect(() => { document.title = `${t('login')} · ARE`; }, []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try { await login({ token: token.trim() }); } catch (failed) { setError(failed); } finally { setBusy(false); }
  };
  return html`<main class="login"><div class="login-card">
    <span class="mark" aria-hidden="true"></span>
    <h1>${t('login.title')}</h1>
    <p>${t('login.code')}</p>
    <pre class="command"><code>are open</code></pre>
    ${error && html`<${Failure} error=${error} />`}
    <form onSubmit=${submit}><label class="field"><span>${t('login.token')}</span><input type="password" autocomplete="off" required autofocus value=${token} onInput=${(event) => setToken(event.target.value)} /></label>
    <${Button} kind="main" type="submit" busy=${busy}>${busy ? t('login.busy') : t('login')}</${Button}></form>
    <p class="fine muted"><${Icon} name="shield" size=${14} /> ${t('login.fine')}</p>
  </div></main>`;
}
