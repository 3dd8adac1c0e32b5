"use strict";
(() => {
  const labels = JSON.parse(document.getElementById("facts").textContent).labels;
  const get = (id) => document.getElementById(id);
  const list = get("list");
  let kind = null;
  let page = 0;
  let shown = null;
  // Of several answers the newest is shown.
  let asked = 0;

  const HINTS = {
    wrong_labels: "A proposal is no verdict: look at the photo and at those that it looks like.",
    copies: "Copies in two splits make the test accuracy too high. Remove all but one.",
    odd: "Remove what shows nothing.",
    unreadable: "These files are skipped by tlcli retrain.",
    films: "Frames of one film are much alike; a few of them are enough.",
    changes: "The newest first. Of a photo that was moved twice, the last move is undone first.",
  };

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const bdi = (text) => make("bdi", {textContent: text});
  const counted = (n, noun) => n + " " + noun + (n === 1 ? "" : "s");
  const say = (text) => { get("said").textContent = text; };

  async function ask(address, body) {
    try {
      const response = await fetch(address, body === undefined ? {} : {
        method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"}});
      return await response.json();
    } catch (error) {
      return {error: "the server did not answer; is tlcli serve still running?"};
    }
  }

  // A button; `name` makes its accessible name unique.
  function button(text, name, key, act, main) {
    const found = make("button", {type: "button", className: main ? "main" : ""}, text);
    found.setAttribute("aria-label", text + ": " + name);
    found.dataset.key = key;
    found.addEventListener("click", () => act(found));
    return found;
  }

  async function decide(body, key) {
    say("Working ...");
    const answer = await ask("decide", body);
    await load();
    say(answer.error === undefined ? answer.said : "Not done: " + answer.error);
    // The button is gone: what takes its place is next to it.
    const next = key && list.querySelector('[data-key="' + key + '"]');
    if (next) {
      next.focus();
    } else if (document.activeElement === document.body) {
      get("title").focus();
    }
  }

  function photo(card, each, index) {
    const at = {check: shown.check, card: card.card, photo: index, seen: each.seen};
    const key = card.card + "-" + index;
    const [item, side] = still(card, each, index);
    if (each.seen) {
      side.append(make("p", {className: "now"}, bdi(each.now)),
        make("div", {className: "buttons"}, button("Undo", each.file, key,
          () => decide({...at, action: "undo"}, key), true)));
      return [item, side];
    }
    const buttons = make("div", {className: "buttons"});
    if (each.proposed) {
      buttons.append(button("Move to " + each.proposed, each.file, key,
        () => decide({...at, action: "move", label: each.proposed}, key), shown.kind === "wrong_labels"));
    }
    if (shown.kind === "wrong_labels") {
      buttons.append(keep(card, key));
    }
    buttons.append(button("Remove", each.file, each.proposed ? key + "-r" : key,
      () => decide({...at, action: "remove"}, key)));
    side.append(buttons);
    if (shown.kind !== "unreadable") {
      side.append(other(each, at, key));
    }
    return [item, side];
  }

  // The choice of any label, filled when it is opened: there may be thousands.
  function other(each, at, key) {
    const select = make("select");
    const details = make("details", {}, make("summary", {}, "Another label"), make("div", {className: "other"},
      make("label", {}, "Label of " + each.file, select),
      button("Move", each.file, key + "-o",
        () => decide({...at, action: "move", label: select.value}, key))));
    details.addEventListener("toggle", () => {
      if (!select.options.length) {
        select.append(...labels.filter((name) => name !== each.label).map((name) => make("option", {value: name}, name)));
      }
    });
    return details;
  }

  function keep(card, key) {
    const at = {check: shown.check, card: card.card, photo: null, seen: card.kept};
    const name = card.photos[0].file;
    if (card.kept) {
      return button("Undo", name, key, () => decide({...at, action: "undo"}, key), true);
    }
    const text = card.photos.length > 1 ? "Keep all" : shown.kind === "wrong_labels" ? "Keep the label" : "Keep";
    return button(text, name, key + "-k", () => decide({...at, action: "keep"}, key));
  }

  function finding(card) {
    const first = card.photos[0];
    const wrong = shown.kind === "wrong_labels";
    const title = wrong ? make("h3", {}, bdi(first.label), ": looks like ", bdi(first.proposed)) :
      make("h3", {}, card.photos.length > 1 ? counted(card.photos.length + card.more, "photo") : bdi(first.file));
    const moved = card.photos.some((each) => each.seen);
    const item = make("li", {className: "card" + (moved || card.kept ? " decided" : "")}, title,
      make("p", {className: "why"}, bdi(card.reason), card.more ? "; " + card.more + " of them are not shown" : ""));
    const photos = make("ul", {className: "photos " + (card.photos.length > 1 ? "many" : "one")});
    const draw = card.kept && !moved ? still : photo;
    for (const [index, each] of card.photos.entries()) {
      const [one, side] = draw(card, each, index);
      photos.append(one);
      if (card.near.length) {
        side.append(compared(card));
      }
    }
    item.append(photos);
    const key = card.card + "-0";
    if (card.kept) {
      item.append(make("div", {className: "foot"}, make("p", {className: "now"}, "kept as it is"),
        make("div", {className: "buttons"}, keep(card, moved ? key + "-u" : key))));
    } else if (!wrong && !moved) {
      item.append(make("div", {className: "foot buttons"}, keep(card, key)));
    }
    return item;
  }

  // A photo without buttons, and where they go.
  function still(card, each, index) {
    const side = make("div", {className: "side"},
      make("p", {className: "is"}, each.label ? "Label " : "", make("strong", {}, bdi(each.label))),
      make("p", {className: "file"}, bdi(each.name)));
    return [make("li", {}, picture(card, index, "Photo " + each.file), side), side];
  }

  function picture(card, index, alt) {
    const source = "picture/" + shown.check + "/" + card.card + "/" + index;
    return make("img", {src: source, alt, loading: "lazy", decoding: "async"});
  }

  // The photos that a photo with a doubtful label looks like.
  function compared(card) {
    const first = card.photos.length;
    return make("div", {className: "beside"},
      make("p", {}, "The nearest photos of ", bdi(card.photos[0].proposed)),
      make("ul", {className: "near"}, ...card.near.map((each, index) => make("li", {},
        picture(card, first + index, each.label + ": " + each.file)))));
  }

  function change(each) {
    return make("li", {className: "card"}, make("div", {className: "change"},
      make("img", {src: "changed/" + each.change, alt: "Photo " + each.file, loading: "lazy"}),
      make("div", {}, make("h3", {}, bdi(each.name)), make("p", {className: "soft"},
        (each.kind ? each.kind + ": " : "") + each.text)),
      button("Undo", each.file, "c" + each.change, () => decide({change: each.change}, ""))));
  }

  function tabs() {
    get("kinds").replaceChildren(...shown.kinds.filter((each) => each.count || each.kind === kind).map((each) => {
      const undecided = each.kind === "changes" || each.open === each.count ? "" : ", " + each.open + " open";
      const found = make("button", {type: "button"}, each.title,
        make("span", {className: "n"}, each.count + undecided));
      found.setAttribute("aria-current", String(each.kind === kind));
      found.dataset.key = "tab-" + each.kind;
      found.addEventListener("click", async () => {
        kind = each.kind;
        page = 0;
        await load();
        say("");
        document.querySelector('[data-key="tab-' + kind + '"]').focus();
      });
      return make("li", {}, found);
    }));
  }

  function about() {
    get("photos").textContent = shown.photos;
    get("notes").hidden = !shown.notes.length;
    get("notes").querySelector("summary").textContent = counted(shown.notes.length, "note") + " about labels";
    get("notes").querySelector("ul").replaceChildren(...shown.notes.map((text) => make("li", {}, bdi(text))));
    get("changed").hidden = !shown.moved;
    get("moved").textContent = counted(shown.moved, "photo") + (shown.moved === 1 ? " was" : " were") + " moved.";
    get("check").disabled = shown.checking !== null;
    get("checking").textContent = shown.checking !== null ? "Checking: " + shown.checking :
      shown.problem ? "The check failed: " + shown.problem :
      shown.kept_before ? counted(shown.kept_before, "finding") + " kept earlier: see Changes" : "";
  }

  // Shows what the server has; the present cards are replaced only where something differs.
  async function load() {
    const mine = ++asked;
    const wanted = kind || "wrong_labels";
    const answer = await ask("cards?kind=" + wanted + "&page=" + page);
    if (mine !== asked) {
      return;
    }
    if (answer.error !== undefined) {
      say(answer.error);
      return;
    }
    if (kind === null) {  // the first kind that there is
      const first = answer.kinds.find((each) => each.count && each.kind !== "changes");
      kind = first ? first.kind : "wrong_labels";
      if (kind !== wanted) {
        await load();
        return;
      }
    }
    const before = JSON.stringify(shown);
    if (before === JSON.stringify(answer)) {
      return;
    }
    const focused = document.activeElement && document.activeElement.dataset.key;
    shown = answer;
    page = shown.page;
    about();
    tabs();
    const mineNow = shown.kinds.find((each) => each.kind === kind);
    get("title").textContent = mineNow.title;
    get("hint").textContent = mineNow.count ? HINTS[kind] : kind === "changes" ? "Nothing was changed." : "Nothing found.";
    list.replaceChildren(...shown.cards.map(kind === "changes" ? change : finding));
    get("pager").hidden = shown.pages < 2;
    get("where").textContent = "Page " + (page + 1) + " of " + shown.pages;
    get("before").disabled = page === 0;
    get("after").disabled = page + 1 === shown.pages;
    const again = focused && document.querySelector('[data-key="' + focused + '"]');
    if (again) {
      again.focus();
    }
  }

  async function turn(by) {
    page += by;
    await load();
    get("title").focus();
    get("title").scrollIntoView();
  }

  async function wait() {
    while (shown.checking !== null) {
      await new Promise((done) => setTimeout(done, 500));
      await load();
    }
  }

  get("before").addEventListener("click", () => turn(-1));
  get("after").addEventListener("click", () => turn(1));
  get("check").addEventListener("click", async () => {
    const answer = await ask("check", {});
    say(answer.error || answer.said);
    await load();
    await wait();
    page = 0;
    await load();
    say(shown.problem ? "The check failed" : "The photos were checked again");
  });
  // Another window may have changed something.
  document.addEventListener("visibilitychange", () => document.hidden || load());
  window.addEventListener("focus", () => load());
  load().then(() => shown && wait());
})();
