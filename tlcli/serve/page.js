"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const get = (id) => document.getElementById(id);
  const files = get("files"), list = get("list"), video = get("video"), live = get("live");

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function say(text) {
    get("said").textContent = text;
  }

  const percent = (score) => (score * 100).toFixed(1) + "%";

  // Asks the server; the answer always has either predictions or an error.
  async function ask(blob) {
    if (blob.size > facts.maxBytes) {
      return {error: "too large: " + blob.size + " bytes (limit " + facts.maxBytes + " bytes)"};
    }
    try {
      const response = await fetch("label", {method: "POST", body: blob});
      return await response.json();
    } catch (error) {
      return {error: "the server did not answer, or the file cannot be read"};
    }
  }

  function figure(source, alt, caption) {
    return make("figure", {}, make("img", {src: source, alt: alt}),
                make("figcaption", {}, caption));
  }

  // Fills a card with an answer; pictures stand beside the bars, without the given one where
  // the name is empty.
  function show(place, answer, name) {
    if (answer.error !== undefined) {
      place.replaceChildren(make("p", {className: "error", textContent: answer.error}));
      return;
    }
    const best = answer.predictions[0];
    const pictures = make("div", {className: "pictures"});
    if (answer.picture && name) {
      pictures.append(figure(answer.picture, name, answer.caption));
    }
    let map = null;
    if (best && best.heat_map) {
      map = figure(best.heat_map, "", "");
      pictures.append(map);
    }
    const scores = make("ol", {className: "scores"});
    const rows = [];
    for (const each of answer.predictions) {
      const row = make(map ? "button" : "div", {className: "score"},
                       make("i"), make("bdi", {textContent: each.label}),
                       make("span", {className: "n", textContent: percent(each.score)}));
      if (map) {
        row.type = "button";
        row.addEventListener("click", () => choose(each, row));
      }
      rows.push([row, each]);
      scores.append(make("li", {}, row));
    }
    function choose(each, row) {
      const text = "where it saw " + each.label;
      const image = map.querySelector("img");
      image.src = each.heat_map;
      image.alt = "Heat map: " + text;
      map.querySelector("figcaption").textContent = text;
      for (const [other] of rows) {
        other.setAttribute("aria-pressed", String(other === row));
      }
    }
    if (map) {
      choose(best, rows[0][0]);
    }
    place.replaceChildren(make("div", {className: "inner"}, pictures, scores));
    // A negative score, of a graph that ends in no softmax, has no bar.
    requestAnimationFrame(() => {
      for (const [row, each] of rows) {
        row.querySelector("i").style.width = Math.min(Math.max(each.score, 0), 1) * 100 + "%";
      }
    });
  }

  function inWords(name, answer) {
    if (answer.error !== undefined) {
      return name + ": " + answer.error;
    }
    const best = answer.predictions[0];
    return best ? name + ": " + best.label + ", " + percent(best.score) : name;
  }

  // The newest stands first; the server takes one at a time, so they wait here.
  const waiting = [];
  let busy = false;
  async function work() {
    if (busy) {
      return;
    }
    busy = true;
    let done = 0;
    let failed = 0;
    while (waiting.length) {
      const {blob, name, place} = waiting.shift();
      const answer = await ask(blob);
      show(place, answer, name);
      place.closest(".card").setAttribute("aria-busy", "false");
      done += 1;
      failed += answer.error !== undefined ? 1 : 0;
      say(waiting.length ? waiting.length + " to go" : done === 1 ? inWords(name, answer) :
          failed ? done - failed + " of " + done + " pictures labelled" :
          done + " pictures labelled");
    }
    busy = false;
  }

  function add(blobs) {
    for (const blob of blobs) {
      const name = blob.name || "picture";
      const place = make("div", {}, make("p", {className: "soft", textContent: "Looking ..."}));
      const card = make("li", {className: "card"},
                        make("h3", {}, make("bdi", {textContent: name})), place);
      card.setAttribute("aria-busy", "true");
      list.prepend(card);
      waiting.push({blob, name, place});
    }
    get("answers").hidden = list.children.length === 0;
    work();
  }

  get("choose").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    add(files.files);
    files.value = "";
  });
  get("clear").addEventListener("click", () => {
    waiting.length = 0;
    list.replaceChildren();
    get("answers").hidden = true;
    say("Cleared");
    get("choose").focus();
  });

  document.addEventListener("paste", (event) => {
    const pasted = event.clipboardData ? event.clipboardData.files : [];
    if (pasted.length) {
      event.preventDefault();
      add(pasted);
    } else {
      say("What was pasted is no picture");
    }
  });

  let depth = 0;
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    get("drop").hidden = false;
  });
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    get("drop").hidden = depth === 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    get("drop").hidden = true;
    if (event.dataTransfer.files.length) {
      add(event.dataTransfer.files);
    } else {
      say("What was dropped is no file; save the picture first");
    }
  });

  let stream = null;
  async function startCamera() {
    if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) {
      say("Browsers lend the camera only to pages on this machine (127.0.0.1 or localhost) or " +
          "over https");
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia(
        {video: {facingMode: "environment", width: {ideal: 1280}}, audio: false});
    } catch (error) {
      say(error.name === "NotAllowedError" ? "The browser did not allow the camera"
                                           : "There is no camera that can be used");
      return;
    }
    video.srcObject = stream;
    get("camera").hidden = false;
    get("camera-on").hidden = true;
    await video.play();
    get("shoot").focus();
    say("The camera is on");
  }

  function stopCamera() {
    for (const track of stream ? stream.getTracks() : []) {
      track.stop();
    }
    stream = null;
    video.srcObject = null;
    live.checked = false;
    get("live-answer").replaceChildren();
    get("camera").hidden = true;
    get("camera-on").hidden = false;
    get("camera-on").focus();
    say("The camera is off");
  }

  function frame(side) {
    const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
    const canvas = make("canvas", {width: Math.round(video.videoWidth * scale),
                                   height: Math.round(video.videoHeight * scale)});
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  }

  let shots = 0;
  get("camera-on").addEventListener("click", startCamera);
  get("camera-off").addEventListener("click", stopCamera);
  get("shoot").addEventListener("click", async () => {
    if (!video.videoWidth) {
      say("The camera is not ready yet");
      return;
    }
    const blob = await frame(4096);
    shots += 1;
    add([new File([blob], "camera " + shots + ".jpg", {type: "image/jpeg"})]);
  });
  live.addEventListener("change", async () => {
    while (live.checked && stream) {
      if (video.videoWidth) {
        const answer = await ask(await frame(640));
        if (live.checked) {
          show(get("live-answer"), answer, "");
        }
        if (answer.error !== undefined) {
          live.checked = false;
        }
      }
      await new Promise((done) => setTimeout(done, 200));
    }
  });

  get("address").textContent = location.origin + get("address").textContent;
})();
