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

  const percent = (score, digits = 1) => (score * 100).toFixed(digits) + "%";

  // As few digits as show that a score is below the threshold.
  function digitsBelow(score, factor, digits) {
    const limit = threshold() * factor;
    while (limit > 0 && digits < 9 && parseFloat((score * factor).toFixed(digits)) >= limit) {
      digits += 1;
    }
    return digits;
  }

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  // Asks the server; the answer always has either predictions or an error. The heat map is that of
  // the label with the index `mapped`, or of the best one.
  async function ask(blob, mapped) {
    if (blob.size > facts.maxBytes) {
      return {error: "too large: " + blob.size + " bytes (limit " + facts.maxBytes + " bytes)"};
    }
    const address = "page/label" + (mapped === undefined ? "" : "?map=" + mapped);
    try {
      for (let tries = 0; ; tries += 1) {
        const response = await fetch(address, {method: "POST", body: blob});
        if (response.status !== 503 || tries === 5) {
          return await response.json();
        }
        await pause(1000);  // the server has too many requests at once
      }
    } catch (error) {
      return {error: "the server did not answer, or the file cannot be read"};
    }
  }

  const threshold = () => (parseFloat(get("threshold").value) || 0) / 100;

  // As `tlcli label` has it: of several labels per image those count that reach the threshold, or
  // their own where it is 0; of others the best, if it reaches the threshold.
  const counting = (answer) => {
    const reached = answer.predictions.filter((each) =>
      threshold() > 0 ? each.score >= threshold() : each.counts !== false);
    return reached.slice(0, isSeveral(answer) ? reached.length : 1);
  };
  const isSeveral = (answer) => answer.predictions.some((each) => each.counts !== undefined);
  const isUnsure = (answer) => answer.predictions.length > 0 && counting(answer).length === 0;

  // As `tlcli label --unknown` has it.
  const isUnknown = (answer) =>
    answer.unknown !== undefined && answer.unknown.score > answer.unknown.threshold;
  const unknownText = (answer) => "unknown (nothing like it among the training photos" +
    (answer.unknown.nearest === null ? "" : "; nearest: " + answer.unknown.nearest) + ")";

  function figure(source, alt, caption) {
    return make("figure", {}, make("img", {src: source, alt: alt, decoding: "async"}),
                make("figcaption", {}, caption));
  }

  // Fills a card with an answer; pictures stand beside the bars, without the given one where
  // the name is empty.
  function show(place, answer, name, blob) {
    if (answer.error !== undefined) {
      place.replaceChildren(make("p", {className: "error", textContent: answer.error}));
      return;
    }
    const pictures = make("div", {className: "pictures"});
    if (answer.picture && name) {
      pictures.append(figure(answer.picture, name, answer.caption));
    }
    let map = null;
    if (answer.heat_map) {
      map = figure(answer.heat_map, "", "");
      pictures.append(map);
    }
    const scores = make("ol", {className: "scores"});
    const rows = [];
    const maps = new Map([[answer.mapped, answer.heat_map]]);
    let wanted = answer.mapped;
    for (const each of answer.predictions) {
      const row = make(map ? "button" : "div", {className: "score"},
                       make("i"), make("bdi", {textContent: each.label}),
                       make("span", {className: "n", textContent: percent(each.score)}));
      if (map) {
        row.type = "button";
        row.addEventListener("click", () => choose(each));
      }
      rows.push([row, each]);
      scores.append(make("li", {}, row));
    }
    async function choose(each) {
      wanted = each.index;
      for (const [row, other] of rows) {
        row.setAttribute("aria-pressed", String(other === each));
      }
      if (!maps.has(each.index)) {
        const again = await ask(blob, each.index);
        if (again.error !== undefined || !again.heat_map) {
          say(again.error || "There is no heat map");
          return;
        }
        maps.set(each.index, again.heat_map);
      }
      if (wanted === each.index) {  // no other was chosen meanwhile
        const text = "where it saw " + each.label;
        const image = map.querySelector("img");
        image.src = maps.get(each.index);
        image.alt = "Heat map: " + text;
        map.querySelector("figcaption").textContent = text;
      }
    }
    if (map) {
      choose(answer.predictions.find((each) => each.index === answer.mapped));
    }
    const verdict = make("p", {className: "verdict", hidden: true});
    place.replaceChildren(
      make("div", {className: "inner"}, pictures, make("div", {}, verdict, scores)));
    judge(place, answer);
    // A negative score, of a graph that ends in no softmax, has no bar.
    requestAnimationFrame(() => {
      for (const [row, each] of rows) {
        row.querySelector("i").style.width = Math.min(Math.max(each.score, 0), 1) * 100 + "%";
      }
    });
  }

  const unsurePercent = (score) => percent(score, digitsBelow(score, 100, 1));

  // Marks a card whose best score is below the threshold.
  function judge(place, answer) {
    const verdict = place.querySelector(".verdict");
    if (verdict === null) {
      return;
    }
    const best = answer.predictions[0];
    const doubted = isUnknown(answer) || isUnsure(answer);
    verdict.hidden = !doubted && !isSeveral(answer);
    if (isUnknown(answer)) {
      verdict.replaceChildren(unknownText(answer));
    } else if (isUnsure(answer)) {
      verdict.replaceChildren("unsure (best: ", make("bdi", {textContent: best.label}),
                              ", " + unsurePercent(best.score) + ")");
    } else {
      verdict.replaceChildren(make("bdi", {textContent: counted(answer)}));
    }
    place.classList.toggle("unsure", doubted);
  }

  const counted = (answer) => counting(answer).map((each) => each.label).join(", ");

  function inWords(name, answer) {
    if (answer.error !== undefined) {
      return name + ": " + answer.error;
    }
    const best = answer.predictions[0];
    return name + ": " + (isUnknown(answer) ? unknownText(answer) : isUnsure(answer) ?
      "unsure (best: " + best.label + ", " + unsurePercent(best.score) + ")" :
      isSeveral(answer) ? counted(answer) : best.label + ", " + percent(best.score));
  }

  // What was labelled since the last "Clear". Pictures of the oldest cards are not kept: the page
  // must stay light with thousands of them.
  const MOST_CARDS = 300;
  let results = [];
  const waiting = [];
  // Card -> what is needed to judge it again; only of those that are shown.
  const places = new Map();
  let running = 0;
  let walking = 0;
  let leftOut = 0;
  let begun = 0;
  let ended = 0;
  let failed = 0;
  let last = null;

  // The newest card stands first; some pictures are at the server at once, the others wait here.
  function work() {
    while (running < facts.parallel && waiting.length) {
      running += 1;
      next(waiting.shift()).finally(() => {
        running -= 1;
        work();
      });
    }
    report();
  }

  async function next(job) {
    const place = make("div", {}, make("p", {className: "soft", textContent: "Looking ..."}));
    const card = make("li", {className: "card"},
                      make("h3", {}, make("bdi", {textContent: job.name})), place);
    card.setAttribute("aria-busy", "true");
    list.prepend(card);
    while (list.children.length > MOST_CARDS) {
      const oldest = list.lastElementChild;
      oldest.remove();
      places.delete(oldest);
    }
    let answer;
    let blob = job.blob;
    try {
      blob = blob || await job.open();
      answer = await ask(blob);
    } catch (error) {
      answer = {error: "the file cannot be read"};
    }
    if (job.results !== results) {  // cleared meanwhile
      return;
    }
    show(place, answer, job.name, blob);
    card.setAttribute("aria-busy", "false");
    ended += 1;
    last = {name: job.name, answer};
    // Without the pictures, which only the card needs.
    results.push({name: job.name, error: answer.error, predictions: answer.predictions,
                  unknown: answer.unknown});
    if (answer.error === undefined && card.isConnected) {
      places.set(card, [place, {predictions: answer.predictions, unknown: answer.unknown}]);
    }
    if (answer.error !== undefined) {
      failed += 1;
      get("failed").querySelector("ul").append(
        make("li", {}, make("bdi", {textContent: job.name}), ": " + answer.error));
    }
  }

  const isBusy = () => running > 0 || waiting.length > 0 || walking > 0;

  function report() {
    const busy = isBusy();
    get("progress").hidden = !busy || begun < 2;
    get("bar").max = Math.max(1, begun);
    get("bar").value = ended;
    get("count").textContent = ended + " of " + begun;
    get("failed").hidden = failed === 0 || begun < 2;
    get("failed").querySelector("summary").textContent =
      failed + (failed === 1 ? " picture" : " pictures") + " without labels";
    tally();
    if (!busy && begun) {
      const others = leftOut ? "; " + leftOut + " other file" + (leftOut === 1 ? "" : "s") +
                               " in the folder left out" : "";
      say((ended === 1 && last ? inWords(last.name, last.answer) :
           failed ? ended - failed + " of " + ended + " pictures labelled" :
           ended + " pictures labelled") + others);
      begun = ended = leftOut = 0;
      last = null;
    }
  }

  function tally() {
    const labelled = results.filter((each) => each.error === undefined);
    const unknown = labelled.filter(isUnknown).length;
    const unsure = labelled.filter((each) => !isUnknown(each) && isUnsure(each)).length;
    const parts = [labelled.length - unknown - unsure + " labelled"];
    if (unknown) {
      parts.push(unknown + " unknown");
    }
    if (unsure) {
      parts.push(unsure + " unsure");
    }
    if (labelled.length < results.length) {
      parts.push(results.length - labelled.length + " without labels");
    }
    const hidden = results.length - list.children.length;
    get("tally").textContent = results.length < 2 ? "" : parts.join(", ") +
      (hidden > 0 ? "; the newest " + MOST_CARDS + " are shown, the CSV file has all" : "");
    get("save").disabled = results.length === 0;
  }

  // Takes pictures: {name, blob}, or {name, open} for a file that is opened when its turn comes.
  function add(jobs) {
    if (!jobs.length) {
      return;
    }
    if (!begun) {
      say("");
      failed = 0;
      get("failed").querySelector("ul").replaceChildren();
    }
    for (const job of jobs) {
      waiting.push({...job, results});
    }
    begun += jobs.length;
    get("answers").hidden = false;
    work();
  }

  const named = (blobs) => Array.from(blobs, (blob) => (
    {blob, name: blob.webkitRelativePath || blob.name || "picture"}));

  const mayBePicture = (name) => facts.suffixes.some((each) => name.toLowerCase().endsWith(each));

  // Adds the pictures among the files of a folder, by name.
  function addFolder(given) {
    const pictures = given.filter((each) => mayBePicture(each.name));
    pictures.sort((one, other) => (one.name < other.name ? -1 : 1));
    leftOut += given.length - pictures.length;
    add(pictures);
    return pictures.length;
  }

  const NO_PICTURE = "There is no picture in the folder";

  // Labels the pictures of dropped files and folders, while further folders are read.
  async function walk(entries) {
    const job = (entry) => ({
      name: entry.fullPath.replace(/^\//, "") || entry.name,
      open: () => new Promise((done, fail) => entry.file(done, fail)),
    });
    add(entries.filter((entry) => entry.isFile).map(job));
    const folders = entries.filter((entry) => entry.isDirectory);
    const mine = results;
    let pictures = folders.length ? 0 : 1;
    walking += 1;
    while (folders.length && mine === results) {
      const folder = folders.shift();
      const reader = folder.createReader();
      const found = [];
      try {
        // Each call gives some of them, until none are left.
        for (let some; (some = await new Promise((done, fail) =>
          reader.readEntries(done, fail))).length;) {
          found.push(...some);
        }
      } catch (error) {
        say("The folder " + folder.name + " cannot be read");
      }
      folders.unshift(...found.filter((entry) => entry.isDirectory));
      pictures += addFolder(found.filter((entry) => entry.isFile).map(job));
    }
    walking -= 1;
    report();
    if (!pictures) {
      leftOut = 0;
      say(NO_PICTURE);
    }
  }

  get("choose").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    add(named(files.files));
    files.value = "";
  });
  get("choose-folder").addEventListener("click", () => get("folder").click());
  get("folder").addEventListener("change", () => {
    if (!addFolder(named(get("folder").files))) {
      leftOut = 0;
      say(NO_PICTURE);
    }
    get("folder").value = "";
  });
  get("stop").addEventListener("click", () => {
    begun -= waiting.length;
    waiting.length = 0;
    report();
    get("choose").focus();
  });
  get("clear").addEventListener("click", () => {
    waiting.length = begun = ended = failed = leftOut = 0;
    results = [];
    places.clear();
    list.replaceChildren();
    get("answers").hidden = true;
    report();
    say("Cleared");
    get("choose").focus();
  });
  get("threshold").addEventListener("input", () => {
    for (const [place, answer] of places.values()) {
      judge(place, answer);
    }
    tally();
  });

  // The rows of `tlcli label --num_top_predictions 1 --format csv --spreadsheet`: a byte order mark,
  // by which Excel detects UTF-8, and an apostrophe before text that would be read as a formula.
  function csv() {
    const cell = (value) => {
      const text = typeof value === "string" && /^[=+\-@\t\r\n＝＋－＠]/.test(value) ? "'" + value
                                                                                : String(value);
      return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    };
    const rows = [["image", "label", "score", "rank", "error"]];
    for (const each of results) {
      const found = each.error === undefined ? counting(each) : [];
      found.forEach((one, rank) => rows.push([each.name, one.label, one.score, rank + 1, ""]));
      if (!found.length) {
        rows.push([each.name, "", "", "", each.error || ""]);
      }
    }
    return "\ufeff" + rows.map((row) => row.map(cell).join(",") + "\n").join("");
  }

  get("save").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv()], {type: "text/csv;charset=utf-8"}));
    make("a", {href: address, download: "labels.csv"}).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  });

  document.addEventListener("paste", (event) => {
    const pasted = event.clipboardData ? event.clipboardData.files : [];
    if (pasted.length) {
      event.preventDefault();
      add(named(pasted));
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
    // Taken now: after the event there are none.
    const items = Array.from(event.dataTransfer.items).filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    if (entries.length && entries.every(Boolean)) {
      walk(entries);
    } else if (event.dataTransfer.files.length) {
      add(named(event.dataTransfer.files));
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
    add([{blob, name: "camera " + shots + ".jpg"}]);
  });
  live.addEventListener("change", async () => {
    while (live.checked && stream) {
      if (video.videoWidth) {
        const picture = await frame(640);
        const answer = await ask(picture);
        if (live.checked) {
          show(get("live-answer"), answer, "", picture);
        }
        if (answer.error !== undefined) {
          live.checked = false;
        }
      }
      await pause(200);
    }
  });

  for (const address of document.querySelectorAll(".address")) {
    address.textContent = location.origin + address.textContent;
  }
})();
