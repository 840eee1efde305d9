/** A study: its series at the side, the images of one of them, and what can be done with them. */

import { showAttributes } from "./attributes";
import { Cine } from "./cine";
import { downloads } from "./downloads";
import { button, el, failure, fill } from "./dom";
import { date, getAttributes, instancePath, number, seriesPath, TAG, text, type Attributes } from "./dicomweb";
import { frameRate, framesOf, placeOf, type Frame } from "./frames";
import { handle, keys, type Hands, type Tool } from "./hands";
import { help } from "./help";
import { presets } from "./presets";
import { Stack, type Shown } from "./stack";
import { syntaxName } from "./syntaxes";
import { thumbnail } from "./thumbnails";

/** Show a study in an element until the signal says that somebody left. */
export function study(place: HTMLElement, uid: string, series: string | undefined, signal: AbortSignal): void {
  new StudyPage(place, uid, signal).start(series).catch((error: unknown) => {
    if (!signal.aborted) fill(place, header("", ""), failure(error));
  });
}

function header(patient: string, about: string, ...tools: HTMLElement[]): HTMLElement {
  return el(
    "header",
    { class: "bar" },
    el("a", { href: "#/", class: "back", title: "All studies" }, "‹ Studies"),
    el("div", { class: "who" }, el("strong", {}, patient), el("span", {}, about)),
    el("span", { class: "grow" }),
    ...tools,
  );
}

class StudyPage {
  private readonly image = el("div", { class: "image", tabindex: "0", "aria-label": "Image: wheel or arrow keys for the next" });
  private readonly notice = el("div", { class: "notice" });
  private readonly corners = ["top left", "top right", "bottom left", "bottom right"].map((at) => el("div", { class: `corner ${at}` }));
  private readonly side = el("nav", { class: "series", "aria-label": "Series" });
  private readonly position = el("input", { type: "range", min: "0", value: "0", "aria-label": "Position in the series", class: "position" });
  private readonly choice = el("select", { title: "Window", "aria-label": "Window" });
  private readonly play = button("Play", "Play and stop (space)", () => this.cine.toggle());
  private readonly rate = el("input", { type: "number", min: "1", max: "60", value: "15", title: "Frames a second", "aria-label": "Frames a second" });
  private tools: HTMLElement[] = [];
  private stack!: Stack;
  private cine!: Cine;
  private hands!: Hands;
  private instances: Attributes[] = [];
  private chosen = "";
  // Steps that were asked for while the rest of a long series is still to come; null when it is there.
  private meanwhile: number[] | null = null;

  constructor(
    private readonly place: HTMLElement,
    private readonly uid: string,
    private readonly signal: AbortSignal,
  ) {}

  async start(series: string | undefined): Promise<void> {
    fill(this.place, header("", ""), el("p", { class: "hint" }, "One moment …"));
    const [found, all] = await Promise.all([
      getAttributes(`/studies?StudyInstanceUID=${this.uid}&includefield=StudyDescription`, this.signal),
      getAttributes(`/studies/${this.uid}/series?limit=1000&includefield=SeriesDescription`, this.signal),
    ]);
    const about = found[0];
    if (!about || !all.length) throw new Error("This study is not in the archive.");
    this.build(about);
    all.sort((a, b) => (number(a, TAG.seriesNumber) ?? 1e9) - (number(b, TAG.seriesNumber) ?? 1e9));
    fill(this.side, ...all.map((each) => this.card(each)));
    const first = series ?? text(all.find((each) => !/^(SR|PR|KO|DOC)$/.test(text(each, TAG.modality))) ?? all[0]!, TAG.series);
    await this.open(first);
  }

  private build(about: Attributes): void {
    const who = text(about, TAG.patientName) || "(no name)";
    const what = [text(about, TAG.patientId), date(text(about, TAG.studyDate)), text(about, TAG.studyDescription)];
    this.choice.addEventListener("change", () => this.choose(Number(this.choice.value)));
    this.position.addEventListener("input", () => {
      this.cine.stop();
      void this.stack.show(Number(this.position.value));
    });
    this.rate.addEventListener("change", () => (this.cine.framesPerSecond = Math.min(Math.max(Number(this.rate.value) || 15, 1), 60)));
    const view = el("div", { class: "view" }, this.image, ...this.corners, this.notice, this.position);
    fill(
      this.place,
      header(who, what.filter(Boolean).join(" · "), ...this.toolbar()),
      el("main", { class: "study" }, this.side, view),
    );
    this.stack = new Stack(this.image, (shown) => this.told(shown), (error, index) => this.failed(error, index));
    this.cine = new Cine(this.stack, (isPlaying) => this.play.classList.toggle("on", isPlaying));
    this.hands = handle(this.image, this.stack, this.cine);
    const forget = keys(this.table());
    this.signal.addEventListener("abort", () => {
      this.cine.stop();
      forget();
      this.stack.close();
    });
  }

  private toolbar(): HTMLElement[] {
    const tool = (label: string, name: Tool, title: string): HTMLElement =>
      button(label, title, () => this.take(name), { "data-tool": name, class: name === "window" ? "on" : "" });
    this.tools = [
      tool("Window", "window", "Drag for window and level (W)"),
      tool("Pan", "pan", "Drag to move the image (P); the third button always does"),
      tool("Zoom", "zoom", "Drag to zoom (Z); the second button always does"),
      tool("Scroll", "scroll", "Drag for the next image (S); the wheel always does"),
    ];
    return [
      el("div", { class: "tools" }, ...this.tools),
      this.choice,
      button("Invert", "Light and dark changed (I)", () => this.stack.invert()),
      button("Reset", "Window, zoom and place as at first (R)", () => this.stack.reset()),
      el("div", { class: "tools" }, this.play, this.rate),
      button("Metadata", "All attributes (M)", () => this.metadata()),
      downloads(() => this.stack.frame?.attributes ?? this.instances[0], (error) => this.say(error)),
      button("?", "Keys (?)", help),
    ];
  }

  private table(): Record<string, () => void> {
    const step = (by: number) => () => {
      this.cine.stop();
      if (this.meanwhile) this.meanwhile.push(by);
      else void this.stack.show(stepped(this.stack.current, by, this.stack.length));
    };
    const table: Record<string, () => void> = {
      ArrowDown: step(1), ArrowRight: step(1), ArrowUp: step(-1), ArrowLeft: step(-1),
      PageDown: step(10), PageUp: step(-10), Home: step(-1e9), End: step(1e9),
      " ": () => this.cine.toggle(),
      "+": () => this.stack.zoomBy(1.25), "-": () => this.stack.zoomBy(0.8),
      i: () => this.stack.invert(), r: () => this.stack.reset(), m: () => this.metadata(), "?": help,
      w: () => this.take("window"), p: () => this.take("pan"), z: () => this.take("zoom"), s: () => this.take("scroll"),
      Escape: () => (location.hash = "#/"),
    };
    for (let at = 1; at <= 9; at++) table[String(at)] = () => this.choose(at - 1);
    return table;
  }

  private card(series: Attributes): HTMLElement {
    const uid = text(series, TAG.series);
    const canvas = el("canvas", { "aria-hidden": "true" });
    thumbnail(canvas, this.uid, uid, this.signal);
    const words = [text(series, TAG.modality), text(series, TAG.seriesNumber) && `#${text(series, TAG.seriesNumber)}`, text(series, TAG.instancesOfSeries)];
    return el(
      "button",
      { type: "button", class: "card", "data-series": uid, "data-instances": text(series, TAG.instancesOfSeries), onclick: () => void this.open(uid) },
      canvas,
      el("strong", {}, text(series, TAG.seriesDescription) || "(no description)"),
      el("span", {}, words.filter(Boolean).join(" · ")),
    );
  }

  private async open(series: string): Promise<void> {
    this.chosen = series;
    for (const card of this.side.querySelectorAll<HTMLElement>(".card")) card.classList.toggle("on", card.dataset["series"] === series);
    history.replaceState(null, "", `#/${this.uid}/${series}`);
    this.cine.stop();
    this.image.dataset["state"] = "loading";
    this.blank("One moment …");
    // What is still under way of the series before is shown no more.
    this.stack.clear();
    this.instances = [];
    this.meanwhile = [];
    try {
      const whole = getAttributes(`${seriesPath(this.uid, series)}/metadata`, this.signal);
      const early = this.early(series, whole);
      const instances = await whole;
      const shown = await early;
      if (this.chosen !== series) return;
      this.instances = instances;
      const frames = framesOf(instances);
      if (!frames.length) throw new Error(`There are no images in this series (${text(instances[0] ?? {}, TAG.modality) || "no modality"}). Metadata and download have what it holds.`);
      this.position.max = String(frames.length - 1);
      this.position.hidden = frames.length < 2;
      this.cine.framesPerSecond = frameRate(frames[0]!) ?? 15;
      this.rate.value = String(Math.round(this.cine.framesPerSecond));
      const first = Math.max(frames.findIndex((frame) => frame.place.instance === shown), 0);
      const index = this.meanwhile.reduce((at, by) => stepped(at, by, frames.length), first);
      this.meanwhile = null;
      if (shown) await this.stack.grow(frames, index);
      else await this.stack.open(frames, index);
    } catch (error) {
      if (this.signal.aborted || this.chosen !== series) return;
      this.meanwhile = null;
      this.stack.clear();
      this.image.dataset["state"] = "failed";
      this.say(error);
    }
  }

  /** Show the first image of a long series while the rest is asked for; its SOP Instance UID, "" where there was no need. */
  private async early(series: string, whole: Promise<Attributes[]>): Promise<string> {
    const count = Number(this.side.querySelector<HTMLElement>(`.card[data-series="${series}"]`)?.dataset["instances"] ?? 0);
    if (count < LONG) return "";
    let isWhole = false;
    const done = (): boolean => (isWhole = true);
    whole.then(done, done);
    try {
      const [row] = await getAttributes(`${seriesPath(this.uid, series)}/instances?orderby=InstanceNumber&limit=1`, this.signal);
      if (!row || isWhole) return "";
      const first = await getAttributes(`${instancePath(placeOf(row))}/metadata`, this.signal);
      const frames = framesOf(first);
      if (isWhole || this.chosen !== series || !frames.length) return "";
      this.instances = first;
      this.position.hidden = true;
      await this.stack.open(frames);
      return this.chosen === series ? text(first[0]!, TAG.sopInstance) : "";
    } catch {
      return ""; // what is wrong is said of the whole
    }
  }

  private told({ index, frame, window, zoom, isInverted, renderedBecause }: Shown): void {
    const { attributes } = frame;
    this.image.classList.remove("hidden");
    fill(this.notice, renderedBecause && el("p", { class: "hint" }, `As the server renders it. ${renderedBecause}`));
    this.position.value = String(index);
    const multi = frame.frameCount > 1 ? `Frame ${frame.frameNumber} of ${frame.frameCount}` : "";
    const texts = [
      [text(attributes, TAG.patientName), text(attributes, TAG.patientId)],
      [text(attributes, TAG.seriesDescription), text(attributes, TAG.modality), date(text(attributes, TAG.studyDate))],
      [this.meanwhile ? "The first image; the others follow …" : `Image ${index + 1} of ${this.stack.length}`, multi, syntaxName(text(attributes, TAG.transferSyntax))],
      [`Zoom ${Math.round(zoom * 100)} %`, window ? `Centre ${round(window.center)}  Width ${round(window.width)}` : "Colour", isInverted ? "Inverted" : ""],
    ];
    this.corners.forEach((corner, at) => fill(corner, ...texts[at]!.filter(Boolean).map((words) => el("div", {}, words))));
    this.offer(frame, window?.name ?? "");
  }

  private offer(frame: Frame, named: string): void {
    const found = this.stack.window ? presets(frame, this.stack.everything()) : [];
    const options = found.map((each, at) => el("option", { value: at }, `${each.name}  ${round(each.center)} / ${round(each.width)}`));
    const at = found.findIndex((each) => each.name === named);
    fill(this.choice, at < 0 && el("option", { value: "-1" }, named || "Colour"), ...options);
    this.choice.value = String(at);
  }

  private choose(at: number): void {
    const frame = this.stack.frame;
    const found = frame && this.stack.window ? presets(frame, this.stack.everything())[at] : undefined;
    if (found) this.stack.setWindow(found);
    this.image.focus({ preventScroll: true });
  }

  private take(tool: Tool): void {
    this.hands.tool = tool;
    for (const each of this.tools) each.classList.toggle("on", each.dataset["tool"] === tool);
  }

  private metadata(): void {
    const attributes = this.stack.frame?.attributes ?? this.instances[0];
    if (attributes) void showAttributes(attributes, `Instance ${text(attributes, TAG.instanceNumber)}`);
  }

  private failed(error: unknown, index: number): void {
    this.position.value = String(index);
    this.blank("");
    fill(this.corners[2]!, `Image ${index + 1} of ${this.stack.length}`);
    this.say(error);
  }

  private blank(words: string): void {
    this.image.classList.add("hidden");
    for (const corner of this.corners) fill(corner);
    fill(this.notice, words && el("p", { class: "hint" }, words));
  }

  private say(error: unknown): void {
    fill(this.notice, failure(error));
  }
}

// So many instances take a server a moment to describe.
const LONG = 100;

const stepped = (at: number, by: number, length: number): number => Math.min(Math.max(at + by, 0), length - 1);
const round = (value: number): string => String(Math.abs(value) >= 10 ? Math.round(value) : Number(value.toPrecision(3)));
