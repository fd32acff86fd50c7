// The events of the service, read by fetch: an EventSource cannot send a bearer token.

const RETRY_MS = 1500;
const TOKEN = "stepahead-token";

export function storedToken() {
  return sessionStorage.getItem(TOKEN);
}

export function storeToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

// One open stream at a time: opening another ends the one before.
export class Stream {
  constructor({ onEvent, onLost, onRefused }) {
    this.handlers = { onEvent, onLost, onRefused };
    this.abort = null;
  }

  open(query) {
    if (this.abort) this.abort.abort();
    this.abort = new AbortController();
    this.follow(query, this.abort.signal);
  }

  async follow(query, signal) {
    const { onEvent, onLost, onRefused } = this.handlers;
    while (!signal.aborted) {
      try {
        const token = storedToken();
        const headers = token ? { Authorization: `Bearer ${token}` } : {};
        const asked = typeof query === "function" ? query() : query;
        const answer = await fetch(`/api/events?${new URLSearchParams(asked)}`, { signal, headers, cache: "no-store" });
        if (answer.status === 401) return onRefused(Boolean(token));
        if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).trim()}`);
        await read(answer.body, (text) => signal.aborted || onEvent(JSON.parse(text)));
        if (!signal.aborted) onLost("the service has closed the connection");
      } catch (error) {
        if (signal.aborted) return undefined;
        onLost(error.message.startsWith("503") ? "too many viewers" : "no connection to the service");
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    return undefined;
  }
}

async function read(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const event = text.slice(0, end);
      text = text.slice(end + 2);
      if (event.startsWith("data: ")) take(event.slice(6));
    }
  }
}
