/** One of the two photos on the page: choosing it, and showing the faces in it. */

const LONGEST_PREVIEW = 640;

export class PhotoPanel {
  /**
   * @param {HTMLElement} section with the attribute data-photo
   * @param {(file: File) => void} onFile called with each photo that is chosen or dropped
   */
  constructor(section, onFile) {
    this.name = section.dataset.photo;
    this.input = section.querySelector("input");
    this.drop = section.querySelector(".drop");
    this.preview = section.querySelector(".preview");
    this.face = section.querySelector(".face");
    this.action = section.querySelector(".action");
    this.note = section.querySelector(".note");
    this.input.addEventListener("change", () => {
      const file = this.input.files[0];
      // Clear the input: otherwise choosing the same file again would cause no event.
      this.input.value = "";
      if (file) onFile(file);
    });
    section.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.drop.classList.add("over");
    });
    section.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    section.addEventListener("drop", (event) => {
      event.preventDefault();
      this.drop.classList.remove("over");
      const file = event.dataTransfer.files[0];
      if (file) onFile(file);
    });
  }

  /** Shows a text below the photo. */
  say(text) {
    this.note.textContent = text;
  }

  /** Removes the photo and the face. */
  clear() {
    this.face.hidden = true;
    this.preview.hidden = true;
    this.drop.classList.remove("filled");
    this.action.textContent = `Choose photo ${this.name}`;
    this.say("");
  }

  /**
   * Shows a photo, with faces and landmarks if they are known.
   *
   * @param {import("./photo.js").Pixels} photo
   * @param {import("./yunet.js").Face[]} faces
   * @param {import("./yunet.js").Face} [chosen]
   */
  showPhoto(photo, faces = [], chosen = undefined) {
    const scale = Math.min(1, LONGEST_PREVIEW / Math.max(photo.width, photo.height));
    this.preview.width = Math.max(1, Math.round(photo.width * scale));
    this.preview.height = Math.max(1, Math.round(photo.height * scale));
    const whole = document.createElement("canvas");
    [whole.width, whole.height] = [photo.width, photo.height];
    whole.getContext("2d").putImageData(imageData(photo), 0, 0);
    const context = this.preview.getContext("2d");
    context.drawImage(whole, 0, 0, this.preview.width, this.preview.height);
    context.strokeStyle = getComputedStyle(this.drop).getPropertyValue("--color");
    context.fillStyle = context.strokeStyle;
    const stroke = Math.max(2, this.preview.width / 150);
    for (const face of faces) {
      context.lineWidth = face === chosen ? stroke : stroke / 2;
      context.setLineDash(face === chosen ? [] : [3 * stroke, 2 * stroke]);
      context.strokeRect(...face.box.map((value) => value * scale));
    }
    for (const [x, y] of chosen?.landmarks ?? []) {
      context.beginPath();
      context.arc(x * scale, y * scale, stroke, 0, 2 * Math.PI);
      context.fill();
    }
    this.preview.hidden = false;
    this.drop.classList.add("filled");
    this.action.textContent = `Change photo ${this.name}`;
  }

  /** Shows an aligned face. */
  showFace(aligned) {
    [this.face.width, this.face.height] = [aligned.width, aligned.height];
    this.face.getContext("2d").putImageData(imageData(aligned), 0, 0);
    this.face.hidden = false;
  }
}

function imageData({ data, width, height }) {
  return new ImageData(data, width, height);
}
