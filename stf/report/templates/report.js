"use strict";
(() => {
  const contents = document.getElementById("contents-list");
  contents.open = window.matchMedia("(min-width: 50rem)").matches;

  const explorer = document.getElementById("explorer");
  if (explorer === null) return;
  const find = (name) => document.getElementById("explorer-" + name);
  const sheet = find("sheet"), speed = find("speed"), image = find("image");
  const fields = [...explorer.querySelectorAll("input[type=radio]")];
  const canvases = [...explorer.querySelectorAll("canvas")];
  const speeds = explorer.dataset.speeds.split(" ").map(Number);
  const [steps, images, width, height] = ["steps", "images", "width", "height"].map((name) => +explorer.dataset[name]);

  function draw() {
    const row = fields.findIndex((field) => field.checked) * images + (image.value - 1);
    const first = speeds.indexOf(Number(speed.value)) * steps;
    const unit = Math.abs(speed.value) === 1 ? "unit step" : "unit steps";
    const told = `${speed.value.replace("-", "\u2212")} ${unit} per transition`;
    const columns = [speeds.length * steps, ...Array.from({ length: steps }, (_, step) => first + step)];
    columns.forEach((column, place) => {
      const brush = canvases[place].getContext("2d");
      brush.drawImage(sheet, column * width, row * height, width, height, 0, 0, width, height);
    });
    find("speed-said").textContent = told;
    find("image-said").textContent = `${image.value} of ${images}`;
    speed.setAttribute("aria-valuetext", told);
  }

  sheet.decode().then(() => {
    explorer.hidden = false;
    draw();
    explorer.addEventListener("input", draw);
  });
})();
