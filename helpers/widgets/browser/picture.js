// A figure some places of which are buttons. Python's side is helpers/widgets/graph.py.
function render({ model, el }) {
  el.classList.add("workbook-picture");
  const image = document.createElement("img");
  const spots = document.createElement("div");
  el.append(image, spots);
  let address = null;
  function draw() {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    image.src = address;
    image.alt = model.get("alt");
    image.style.width = `${model.get("width")}px`;
    spots.replaceChildren(
      ...Object.entries(model.get("spots")).map(([name, [left, top, right, bottom]]) => {
        const made = document.createElement("button");
        made.title = made.ariaLabel = `${name}: ${model.get("tips")[name] ?? ""}`;
        const percent = (share) => `${100 * share}%`;
        Object.assign(made.style, {
          left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top),
        });
        made.addEventListener("click", () => model.send({ clicked: name }));
        return made;
      }),
    );
  }
  draw();
  model.on("change:png", draw);
  return () => {
    model.off("change:png", draw);
    if (address) URL.revokeObjectURL(address);
  };
}

export default { render };
