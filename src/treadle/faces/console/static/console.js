// The start page: choose what to run, run it, see its terminal, type into it, end it.

import { nodes } from "./shown.js";

const $ = (id) => document.getElementById(id);
const [path, args, line, hide, output] = ["path", "args", "line", "hide", "output"].map($);
const LONGEST = 2_000_000; // characters of output kept on the page
const SESSION = "console.session";

// Talking to the server

let token = null;

async function csrf() {
  if (token === null) token = (await (await fetch("/api/csrf_token", { credentials: "same-origin" })).json()).csrf_token;
  return token;
}

/** fetch, with the CSRF token; a token that went stale is fetched anew, once. */
async function apiFetch(address, options = {}, again = true) {
  const changes = (options.method ?? "GET") !== "GET";
  const headers = { ...options.headers, ...(changes ? { "X-CSRF-Token": await csrf() } : {}) };
  const answer = await fetch(address, { credentials: "same-origin", ...options, headers });
  if (changes && again && (answer.status === 401 || answer.status === 403)) {
    token = null;
    return apiFetch(address, options, false);
  }
  if (answer.status === 401) location.assign("/login?next=/");
  return answer;
}

const post = (address, body, more = {}) =>
  apiFetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...more });

async function told(answer) {
  const body = await answer.json().catch(() => ({}));
  return body.error ?? `The server answered ${answer.status}`;
}

// The files

const MARKS = {
  folder: "M4 2l4 4-4 4",
  file: "M3 1.5h4l2.5 2.5v6.5h-6.5z",
};

function mark(type) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", type === "folder" ? "mark turn" : "mark");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", MARKS[type]);
  svg.append(drawn);
  return svg;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step++) bytes /= 1000;
  return `${bytes < 10 && step ? bytes.toFixed(1) : Math.round(bytes)} ${units[step]}`;
}

function made(tag, text = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

function row(item, where = "") {
  const place = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.title = item.path;
  button.append(mark(item.type), made("span", item.name, "name"));
  const more = where || item.subtitle || (item.type === "file" ? size(item.size) : "");
  if (item.available === false) button.append(made("small", "not there"));
  else if (more) button.append(made("small", more, where || item.subtitle ? "where" : ""));
  place.append(button);
  if (item.type === "folder") button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    choose(item.path);
    if (item.type === "folder") turn(place, button, item);
  });
  return place;
}

function choose(chosen) {
  path.value = chosen;
  for (const each of $("tree").querySelectorAll("button")) each.setAttribute("aria-current", String(each.title === chosen));
}

async function turn(place, button, item) {
  if (button.getAttribute("aria-expanded") === "true") {
    button.setAttribute("aria-expanded", "false");
    place.querySelector("ul")?.remove();
    return;
  }
  button.setAttribute("aria-expanded", "true");
  const answer = await apiFetch(`/api/browse?path=${encodeURIComponent(item.path)}`);
  if (button.getAttribute("aria-expanded") !== "true" || place.querySelector("ul")) return;
  const list = document.createElement("ul");
  if (!answer.ok) list.append(made("li", await told(answer), "note"));
  else {
    const found = await answer.json();
    list.append(...found.items.map((each) => row(each)));
    if (!found.count) list.append(made("li", "Empty", "note"));
    if (found.truncated) list.append(made("li", `The first ${found.count} entries`, "note"));
  }
  place.append(list);
}

async function roots() {
  const answer = await apiFetch("/api/browse_roots");
  if (!answer.ok) {
    $("tree-note").textContent = await told(answer);
    return;
  }
  const { items } = await answer.json();
  $("tree").replaceChildren(...items.map((item) => row(item)));
  $("tree-note").textContent = items.length ? "" : "No folder is open here. Set roots under [console], or UA_BROWSE_ROOTS, and start again.";
  if (items.length === 1) $("tree").querySelector("button").click();
}

let searching = null;
let pause;

$("search").addEventListener("input", () => {
  clearTimeout(pause);
  searching?.abort();
  const text = $("search").value.trim();
  pause = setTimeout(() => (text ? search(text) : roots()), 300);
});

async function search(text) {
  searching = new AbortController();
  try {
    const answer = await apiFetch(`/api/browse_search?q=${encodeURIComponent(text)}`, { signal: searching.signal });
    if (!answer.ok) {
      $("tree-note").textContent = await told(answer);
      return;
    }
    const found = await answer.json();
    $("tree").replaceChildren(...found.items.map((item) => row(item, item.path.slice(0, item.path.lastIndexOf("/")) || "/")));
    $("tree-note").textContent = found.truncated ? `Limited to ${found.count}` : found.count ? "" : "Nothing has that in its name";
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

// Arguments to pick from

async function picking() {
  const answer = await apiFetch("/api/arguments");
  if (!answer.ok) return;
  const { groups } = await answer.json();
  $("picker").hidden = groups.length === 0;
  $("groups").replaceChildren(
    ...groups.map(({ title, args: offered }) => {
      const group = document.createElement("section");
      const list = document.createElement("dl");
      for (const each of offered) {
        const term = document.createElement("dt");
        const pick = made("button", each.label);
        pick.type = "button";
        pick.addEventListener("click", () => {
          args.value = `${args.value.trimEnd()} ${each.label}${each.placeholder ? " " : ""}`.trimStart();
          args.focus();
        });
        term.append(pick, made("small", each.placeholder ? ` ${each.placeholder}` : ""));
        list.append(term, made("dd", each.description));
      }
      group.append(made("h2", title), list);
      return group;
    }),
  );
}

$("pick-filter").addEventListener("input", () => {
  const text = $("pick-filter").value.toLowerCase();
  for (const group of $("groups").children) {
    let any = false;
    for (const term of group.querySelectorAll("dt")) {
      const fits = `${term.textContent} ${term.nextElementSibling.textContent}`.toLowerCase().includes(text);
      term.hidden = term.nextElementSibling.hidden = !fits;
      any ||= fits;
    }
    group.hidden = !any;
  }
});

// The output

let length = 0;

function show(...added) {
  const follows = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  output.append(...added);
  for (const each of added) length += each.textContent.length;
  while (length > LONGEST && output.firstChild !== output.lastChild) {
    length -= output.firstChild.textContent.length;
    output.firstChild.remove();
  }
  if (follows) output.scrollTop = output.scrollHeight;
}

function clear() {
  output.replaceChildren();
  length = 0;
}

const say = (text, name = "said") => show(made("div", text, name));

// The run

let current = null; // the session that is shown here, and what ends our watching it

function state(text, is = "") {
  $("state").textContent = text;
  $("state").dataset.is = is;
}

function running(is) {
  $("kill").disabled = !is;
  for (const each of $("typing").elements) each.disabled = !is && each !== hide;
  if (is) line.focus({ preventScroll: true });
}

function ended({ code, signal, reason }, began) {
  const seconds = began ? ` after ${((Date.now() - began) / 1000).toFixed(1)} s` : "";
  const how = signal ? `ended by ${signal}` : `exit code ${code}`;
  const why = reason && reason !== "exited" ? ` (${reason.replace("_", " ")})` : "";
  state(`${code === 0 ? "✓" : "✕"} ${how}${why}${seconds}`, code === 0 ? "ended" : "failed");
}

/** Read a stream to its end, as the document of this API does it. */
async function follow(answer, run) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  let exited = false;
  while (true) {
    const { done, value } = await reader.read();
    if (done || run.controller.signal.aborted) break;
    buffer += decoder.decode(value, { stream: true });
    const parts = buffer.split("\n");
    buffer = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue;
      const message = JSON.parse(part.slice(6));
      if (message.type === "html") show(nodes(message.data));
      else if (message.type === "html_full") {
        clear();
        show(nodes(message.data));
      } else if (message.type === "system") {
        run.session = message.session_id;
        sessionStorage.setItem(SESSION, run.session);
        $("session").textContent = message.data;
        $("session").title = message.data;
        state("◐ running", "running");
        running(true);
      } else if (message.type === "exit") {
        exited = true;
        ended(message, run.began);
      } else if (message.type !== "error") say(JSON.stringify(message), "typed"); // an error comes as html too
    }
  }
  return exited;
}

async function watch(request, run) {
  current?.controller.abort();
  current = run;
  clear();
  $("session").textContent = "";
  state("…");
  let exited = false;
  try {
    const answer = await request(run.controller.signal);
    if (!answer.ok) {
      state(`✕ ${await told(answer)}`, "failed");
      exited = true;
    } else exited = await follow(answer, run);
  } catch (error) {
    if (error.name !== "AbortError") state(`✕ ${error.message}`, "failed");
  }
  if (current !== run) return;
  running(false);
  if (exited) sessionStorage.removeItem(SESSION);
  else if (run.session) state("✕ The connection was lost; the run may go on", "failed");
  others();
}

$("command").addEventListener("submit", (event) => {
  event.preventDefault();
  const session = `session_${Date.now()}`;
  const body = { path: path.value.trim(), args: args.value, session_id: session };
  const run = { session, controller: new AbortController(), began: Date.now() };
  watch((signal) => post("/api/execute", body, { signal }), run);
});

function join(session) {
  const run = { session, controller: new AbortController(), began: 0 };
  return watch((signal) => apiFetch(`/api/sessions/${encodeURIComponent(session)}/stream`, { signal }), run);
}

$("kill").addEventListener("click", async () => {
  state("◐ ending; press again to end it at once", "running");
  const answer = await post("/api/kill", { session_id: current.session });
  if (!answer.ok) say(await told(answer));
});

async function type(text, raw = false) {
  const answer = await post("/api/input", { session_id: current.session, input: text, ...(raw ? { raw } : {}) });
  if (!answer.ok) say(await told(answer));
}

$("typing").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = line.value;
  line.value = "";
  say(`> ${hide.checked ? "•".repeat(8) : text}`, "typed");
  type(text);
});
line.addEventListener("keydown", (event) => {
  if (!event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "c" && line.selectionStart === line.selectionEnd) type("\u0003", true);
  else if (event.key === "d" && line.value === "") type("\u0004", true);
  else return;
  event.preventDefault();
});
$("interrupt").addEventListener("click", () => type("\u0003", true));
$("end").addEventListener("click", () => type("\u0004", true));
hide.addEventListener("change", () => {
  line.type = hide.checked ? "password" : "text";
});

/** What else runs in this person's name: each can be watched from here. */
async function others() {
  const answer = await apiFetch("/api/sessions");
  if (!answer.ok) return;
  const { user, sessions } = await answer.json();
  const named = !user.startsWith("anonymous@");
  $("who").textContent = named ? user : "";
  $("leave").hidden = !named;
  const busy = $("state").dataset.is === "running";
  const rest = sessions.filter((each) => each.running && !(busy && each.session_id === current?.session));
  $("others").hidden = rest.length === 0;
  $("others").replaceChildren(
    ...rest.map((each) => {
      const button = made("button", `◐ Watch ${each.argv.join(" ")}`, "plain");
      button.type = "button";
      button.title = `${each.session_id}, started ${new Date(each.started * 1000).toLocaleString()}`;
      button.addEventListener("click", () => join(each.session_id));
      return button;
    }),
  );
}

// The theme

$("theme").addEventListener("click", () => {
  const order = ["", "light", "dark"];
  const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // storage is closed to us: the choice holds for this page
  }
  $("theme").textContent = { "": "Theme", light: "Light", dark: "Dark" }[next];
});

if (matchMedia("(max-width: 720px)").matches) $("files").open = true;
path.focus({ preventScroll: true });
await Promise.all([roots(), picking()]);
const left = sessionStorage.getItem(SESSION);
if (left) join(left);
else others();
