// The page of the server: one document, many questions. No library, no build.
"use strict";

const field = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat();
/** Tokens that the server read in a second, as far as this page has seen. */
let speed = 0;
/** Counts the document's tokens after a pause in typing. */
let counting;
let counted = 0;
/** The request that is under way. */
let running;

function headers() {
  const result = { "Content-Type": "application/json" };
  const key = field("key").value;
  if (key) result.Authorization = `Bearer ${key}`;
  return result;
}

async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST", headers: headers(), body: JSON.stringify(body), signal,
  });
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // The body is no error of the API: the status has to do.
  }
  throw new Error(message);
}

function seconds(value) {
  if (value < 0.095) return `${Math.max(1, Math.round(value * 1000))} ms`;
  if (value < 90) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

async function askServer() {
  try {
    const response = await fetch("v1/models", { headers: headers() });
    if (response.status === 401) throw new Error("The server asks for a key: see the settings.");
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    const served = (await response.json()).data;
    const chosen = field("model").value;
    field("model").replaceChildren(...served.map((model) => new Option(model.id, model.id)));
    if (chosen) field("model").value = chosen;
    models.clear();
    for (const model of served) models.set(model.id, model);
    const model = served[0];
    field("server").textContent =
      `${model.id} on ${model.meta.device}, up to ${numbers.format(model.max_model_len)} tokens`;
  } catch (error) {
    field("server").textContent = error.message;
  }
}

function documentChanged() {
  clearTimeout(counting);
  const text = field("document").value;
  if (!text) {
    counted = 0;
    field("document-figures").textContent = "No document.";
    return;
  }
  field("document-figures").textContent = `${numbers.format(text.length)} characters, counting tokens…`;
  counting = setTimeout(countTokens, 600);
}

async function countTokens() {
  const text = field("document").value;
  try {
    const response = await post("tokenize", { content: text, model: field("model").value });
    if (text !== field("document").value) return;
    counted = (await response.json()).count;
    showCount();
  } catch (error) {
    field("document-figures").textContent = `The tokens could not be counted: ${error.message}`;
  }
}

function showCount() {
  if (!counted) return;
  let text = `${numbers.format(counted)} tokens`;
  if (speed > 0) {
    text += `; the first question will read them in about ${seconds(counted / speed)}`;
  }
  field("document-figures").textContent = `${text}.`;
}

async function open(file) {
  if (!file) return;
  if (/\.pdf$/i.test(file.name) || file.type === "application/pdf") {
    field("document-figures").textContent =
      "PDF files are not read here: copy their text, or convert them with pdftotext.";
    return;
  }
  const text = await file.text();
  if (text.includes("\u0000")) {
    field("document-figures").textContent = `${file.name} is not a text file.`;
    return;
  }
  field("document").value = text;
  documentChanged();
}

/** A new entry at the top of the answers, with its parts. */
function addEntry(question) {
  field("none").hidden = true;
  const entry = document.createElement("li");
  const parts = {};
  for (const [name, tag] of [["asked", "h3"], ["thought", "p"], ["answer", "p"], ["figures", "p"]]) {
    parts[name] = document.createElement(tag);
    parts[name].className = name;
    entry.append(parts[name]);
  }
  parts.asked.textContent = question;
  field("answers").prepend(entry);
  return { entry, ...parts };
}

function showProgress(progress) {
  const rest = progress.total - progress.processed;
  const read = progress.processed - progress.cache;
  field("progress").value = progress.processed / progress.total;
  let text = `Read ${numbers.format(progress.processed)} of ${numbers.format(progress.total)} tokens`;
  if (progress.cache > 0) text += `, ${numbers.format(progress.cache)} of them before`;
  if (read > 0 && rest > 0) text += `; about ${seconds((progress.time_ms / 1000) * (rest / read))} left`;
  field("progress-text").textContent = `${text}.`;
}

/** The objects of a stream of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const event = text.slice(0, end);
      text = text.slice(end + 2);
      if (event.startsWith("data: ") && event !== "data: [DONE]") yield JSON.parse(event.slice(6));
    }
  }
}

function figures(start, first, last) {
  const parts = [];
  if (first) parts.push(`first token after ${seconds((first - start) / 1000)}`);
  const { usage, timings, attention } = last;
  if (usage) {
    const cached = usage.prompt_tokens_details.cached_tokens;
    parts.push(`${numbers.format(usage.prompt_tokens)} tokens of prompt`);
    parts.push(`${Math.round((100 * cached) / usage.prompt_tokens)} % of them from the cache`);
    parts.push(`${numbers.format(usage.completion_tokens)} tokens answered`);
  }
  if (timings && timings.predicted_per_second > 0) {
    parts.push(`${timings.predicted_per_second.toFixed(1)} tokens a second`);
  }
  if (attention) {
    parts.push(`attention ${attention.mode}, density ${(100 * attention.density).toFixed(1)} %`);
  }
  return parts.join(" · ");
}

async function ask(event) {
  event.preventDefault();
  const question = field("question").value.trim();
  if (!question || running) return;
  const text = field("document").value;
  const parts = addEntry(question);
  running = new AbortController();
  setBusy(true);
  const body = {
    model: field("model").value,
    messages: [{ role: "user", content: text ? `${text}\n\n${question}` : question }],
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
    max_tokens: Number(field("most").value) || 512,
  };
  if (field("attention").value) body.attention = field("attention").value;
  if (field("temperature").value !== "") body.temperature = Number(field("temperature").value);
  const start = performance.now();
  let first;
  const last = {};
  try {
    const response = await post("v1/chat/completions", body, running.signal);
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      if (chunk.prompt_progress) showProgress(chunk.prompt_progress);
      Object.assign(last, {
        usage: chunk.usage ?? last.usage,
        timings: chunk.timings ?? last.timings,
        attention: chunk.attention ?? last.attention,
      });
      const delta = chunk.choices?.[0]?.delta ?? {};
      if (delta.reasoning_content || delta.content) {
        first ??= performance.now();
        field("reading").hidden = true;
      }
      if (delta.reasoning_content) parts.thought.textContent += delta.reasoning_content;
      if (delta.content) parts.answer.textContent += delta.content;
    }
    if (last.timings && last.timings.prompt_n > 256) speed = last.timings.prompt_per_second;
    parts.figures.textContent = figures(start, first, last);
    const { model, messages, attention } = body;
    addAttention(parts.entry, attention ? { model, messages, attention } : { model, messages });
    showCount();
    field("question").value = "";
  } catch (error) {
    const stopped = error.name === "AbortError";
    parts.figures.textContent = stopped
      ? "Stopped. What was read is kept: asking again goes on from there."
      : error.message;
    parts.figures.classList.toggle("error", !stopped);
  } finally {
    running = undefined;
    setBusy(false);
    field("question").focus();
  }
}

function setBusy(isBusy) {
  field("send").disabled = isBusy;
  field("stop").disabled = !isBusy;
  field("reading").hidden = !isBusy;
  field("progress").value = 0;
  field("progress-text").textContent = "Waiting for a turn…";
}

field("document").addEventListener("input", documentChanged);
field("file").addEventListener("change", (event) => open(event.target.files[0]));
field("clear").addEventListener("click", () => {
  field("document").value = "";
  field("file").value = "";
  documentChanged();
  field("document").focus();
});
field("stop").addEventListener("click", () => running?.abort());
field("ask").addEventListener("submit", ask);
field("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) ask(event);
});
field("key").addEventListener("change", askServer);
for (const name of ["dragover", "dragleave", "drop"]) {
  field("document").addEventListener(name, (event) => {
    // A text that is dragged is dropped as the browser does it.
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    field("document").classList.toggle("over", name === "dragover");
    if (name === "drop") open(event.dataTransfer.files[0]);
  });
}
askServer();
