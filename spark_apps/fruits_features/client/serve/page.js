"use strict";

const byId = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const ALMOST = 0.999;
const parameters = new URLSearchParams(location.search); // such as the data set
parameters.set("pictures", "true");
let maxBytes = Infinity;
let current = null;

async function answerOf(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server did not answer. Check the connection, and try again.");
  }
  const isJson = (response.headers.get("Content-Type") || "").startsWith("application/json");
  const content = isJson ? await response.json() : { error: await response.text() };
  if (response.ok && isJson) return content;
  if (response.status === 401) throw new Error("You are not logged in. Log in again, and reload this page.");
  const error = new Error(content.error || `The server answered with status ${response.status}.`);
  error.retryAfter = Number(response.headers.get("Retry-After"));
  throw error;
}

async function showRun() {
  try {
    const { run, categories, max_bytes, max_pixels } = await answerOf(`status?${parameters}`);
    maxBytes = max_bytes;
    byId("run").textContent = `Run ${run}, ${categories.toLocaleString("en")} categories.`;
    byId("limits").textContent = `At most ${inMiB(max_bytes)} and ${Math.floor(max_pixels / 1e6)} megapixels.`;
    byId("missing").textContent = "";
  } catch (error) {
    byId("run").textContent = "";
    byId("missing").textContent = error.message;
    if (error.retryAfter) setTimeout(showRun, 1000 * error.retryAfter);
  }
}

async function recognise(file) {
  if (current) current.abort();
  current = new AbortController();
  const { signal } = current;
  byId("answer").hidden = true;
  byId("error").textContent = "";
  say("");
  if (file.size > maxBytes) {
    showError(new Error(`The photo has ${inMiB(file.size)}; the limit is ${inMiB(maxBytes)}.`));
    return;
  }
  say("Recognising the photo …");
  showPhoto(file);
  try {
    const headers = { "Content-Type": "application/octet-stream" };
    show(await answerOf(`recognise?${parameters}`, { method: "POST", headers, body: file, signal }));
  } catch (error) {
    if (error.name !== "AbortError") showError(error);
  }
}

function showPhoto(file) {
  const photo = byId("photo");
  if (photo.src) URL.revokeObjectURL(photo.src);
  photo.hidden = false;
  photo.onerror = () => { photo.hidden = true; }; // not every browser shows HEIC
  photo.src = URL.createObjectURL(file);
}

function show({ run, categories, neighbours }) {
  const [best] = categories;
  const share = `, ${inPercent(best.probability)}`;
  byId("guess").replaceChildren(element("bdi", best.category), share); // also for names from right to left
  say(`Recognised: ${best.category}${share}.`, true);
  byId("used").textContent = run;
  byId("categories").replaceChildren(...categories.map(rowOf));
  byId("neighbours").replaceChildren(...neighbours.map(itemOf));
  byId("answer").hidden = false;
}

function rowOf({ category, probability }) {
  const name = element("th", category);
  name.scope = "row";
  const bar = element("span");
  bar.className = "bar";
  const share = element("i");
  share.style.width = `${100 * probability}%`;
  bar.append(share);
  const value = element("td", inPercent(probability));
  value.append(bar);
  const row = element("tr");
  row.append(name, value);
  return row;
}

function itemOf({ path, category, cosine, picture }) {
  const image = picture ? element("img") : element("span", "No picture");
  if (picture) {
    image.src = picture;
    image.alt = "";
  } else {
    image.className = "none";
  }
  const text = element("span");
  text.append(element("b", category), element("small", `Cosine ${cosine.toFixed(3)}`), element("small", nameOf(path)));
  text.title = path;
  const item = element("li");
  item.append(image, text);
  return item;
}

function showError(error) {
  say("");
  byId("error").textContent = error.message;
}

function say(sentence, isShownElsewhere = false) {
  byId("message").textContent = sentence;
  byId("message").classList.toggle("heard", isShownElsewhere); // for screen readers only
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function inPercent(probability) {
  if (probability > ALMOST) return `> ${percent.format(ALMOST)}`; // never certain
  if (probability < 1 - ALMOST) return `< ${percent.format(1 - ALMOST)}`;
  return percent.format(probability);
}

const nameOf = (path) => path.split("/").pop();
const inMiB = (bytes) => `${Math.round(bytes / 2 ** 20 * 10) / 10} MiB`;

function take(files) {
  if (files && files.length) recognise(files[0]);
  else showError(new Error("This is not a file. Save the photo first, and choose or drop the file."));
}

function takeFrom(input) {
  if (input.files.length) take(input.files);
  input.value = ""; // so that the same file can be chosen again
}

for (const input of document.querySelectorAll("input")) {
  input.addEventListener("change", () => takeFrom(input));
  takeFrom(input); // chosen before this script was loaded
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
});
showRun();
