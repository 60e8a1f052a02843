// Output as nodes of this page: what the server sends is read as inert HTML, and only what a terminal shows is taken
// over. Styles are set one by one, as the page's policy allows no style attribute.

const TAGS = new Set(["PRE", "CODE", "SPAN", "DIV", "BR", "A"]);
const STYLES = new Set([
  "color", "background-color", "font-weight", "font-style", "opacity", "text-decoration", "text-decoration-line",
  "text-decoration-style", "text-decoration-color", "visibility", "white-space",
]);

/** What some HTML of a stream stands for, as one element. */
export function nodes(html) {
  const inert = html.replace(/<[^<>]*>/g, (tag) => tag.replace(/\sstyle=/gi, " data-style=")); // a parser complains of styles
  const shown = document.createElement("div");
  shown.append(...copied(new DOMParser().parseFromString(inert, "text/html").body));
  return shown;
}

function copied(from) {
  return [...from.childNodes].flatMap((node) => {
    if (node.nodeType === Node.TEXT_NODE) return [document.createTextNode(node.data)];
    if (node.nodeType !== Node.ELEMENT_NODE) return [];
    if (node.tagName === "SCRIPT" || node.tagName === "STYLE") return [];
    if (!TAGS.has(node.tagName)) return copied(node);
    const element = document.createElement(node.tagName);
    for (const [name, value] of declared(node.getAttribute("data-style") ?? "")) element.style.setProperty(name, value);
    const href = node.getAttribute("href");
    if (node.tagName === "A" && /^https?:\/\//i.test(href ?? "")) {
      element.href = href;
      element.target = "_blank";
      element.rel = "noopener noreferrer";
    }
    element.append(...copied(node));
    return [element];
  });
}

function declared(style) {
  return style
    .split(";")
    .map((each) => each.split(/:(.*)/s).map((part) => part.trim()))
    .filter(([name, value]) => value && STYLES.has(name) && !/url\(/i.test(value));
}
