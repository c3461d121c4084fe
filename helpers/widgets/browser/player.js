// A film with its buttons: play, pause, a step back or on. Python's side is helpers/widgets/player.py, which draws a
// picture when it is asked for one; the next is asked for once the last has come.
function render({ model, el }) {
  el.classList.add("workbook-player");
  const bar = document.createElement("div");
  bar.className = "workbook-bar";
  const image = document.createElement("img");
  const said = document.createElement("div");
  said.className = "workbook-said";
  said.setAttribute("role", "status");
  const where = document.createElement("span");
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: model.get("count") - 1, step: 1 });
  slider.setAttribute("aria-label", "picture");

  let timer = null, address = null;
  const last = () => model.get("count") - 1;

  function button(text, title, press) {
    const made = document.createElement("button");
    made.textContent = text;
    made.title = made.ariaLabel = title;
    made.addEventListener("click", press);
    bar.append(made);
    return made;
  }

  function go(to) {
    model.set("at", Math.min(Math.max(0, to), last()));
    model.save_changes();
  }

  function pause() {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    play.textContent = "▶";
    play.title = play.ariaLabel = "play";
  }

  function next() { // the picture has come: the one after it, a moment later
    timer = setTimeout(() => {
      if (model.get("at") >= last()) return pause();
      go(model.get("at") + 1);
    }, model.get("milliseconds"));
  }

  button("◀", "step back", () => { pause(); go(model.get("at") - 1); });
  const play = button("▶", "play", () => {
    if (timer !== null) return pause();
    play.textContent = "❚❚";
    play.title = play.ariaLabel = "pause";
    timer = 0;
    if (model.get("at") >= last()) go(0); else next();
  });
  button("▶|", "step on", () => { pause(); go(model.get("at") + 1); });
  slider.addEventListener("input", () => { pause(); go(Number(slider.value)); });
  bar.append(slider, where);
  el.append(bar, image, said);

  function draw() {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    image.src = address;
    image.alt = said.textContent = model.get("said");
    image.style.width = `${model.get("width")}px`;
    slider.value = model.get("at");
    where.textContent = `${model.get("at") + 1} of ${model.get("count")}`;
    if (timer !== null) next();
  }
  draw();
  model.on("change:png", draw);
  return () => {
    pause();
    model.off("change:png", draw);
    if (address) URL.revokeObjectURL(address);
  };
}

export default { render };
