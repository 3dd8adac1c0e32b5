// The page's own part: a picture is chosen, and its labels are shown.

const status = document.getElementById("status");

/** Waits for `load`, which returns a function from a file to [label, score] pairs, best first. */
export async function show(load) {
  try {
    const label = await load();
    document.getElementById("file").addEventListener("change", (event) => {
      write(label, event.target.files[0]);
    });
    status.textContent = "Ready";
  } catch (error) {
    status.textContent = `Cannot load the network: ${error.message}`;
  }
}

async function write(label, file) {
  try {
    const pairs = await label(file);
    document.getElementById("scores").replaceChildren(...pairs.slice(0, 5).map(([name, score]) => {
      const item = document.createElement("li");
      const number = document.createElement("data");
      number.value = score;
      number.textContent = `${(score * 100).toFixed(1)}%`;
      item.append(`${name} `, number);
      return item;
    }));
    status.textContent = pairs[0][0];
  } catch (error) {
    status.textContent = `Cannot label it: ${error.message}`;
  }
}
