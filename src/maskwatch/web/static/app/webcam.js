// The camera of this device, as one bitmap after another.

import { STRINGS } from "./strings.js";

export class Webcam {
  constructor() {
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.playsInline = true;
    /** @type {MediaStream | null} */
    this.stream = null;
  }

  /** Open a camera, any that will do, or the one of that id; the cameras there are.
   * @param {string} [id] @returns {Promise<MediaDeviceInfo[]>} */
  async open(id) {
    this.close();
    if (!navigator.mediaDevices?.getUserMedia) throw new Error(STRINGS.cameraInsecure);
    const chosen = id ? { deviceId: { exact: id } } : { facingMode: "user" };
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { ...chosen, ...size } }).catch((error) => {
      throw new Error(wordsFor(error));
    });
    this.video.srcObject = this.stream;
    await this.video.play();
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((device) => device.kind === "videoinput");
  }

  get isOpen() {
    return this.stream !== null;
  }

  /** The id of the camera that is open. */
  get id() {
    return this.stream?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
  }

  /** The next new picture. @returns {Promise<ImageBitmap>} */
  async next() {
    await new Promise((resolve) => this.video.requestVideoFrameCallback(resolve));
    return createImageBitmap(this.video);
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }
}

/** @param {DOMException} error */
function wordsFor(error) {
  if (error.name === "NotAllowedError") return STRINGS.cameraRefused;
  if (error.name === "NotFoundError" || error.name === "OverconstrainedError") return STRINGS.cameraMissing;
  return STRINGS.cameraBusy;
}
