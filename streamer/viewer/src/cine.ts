/** Showing one frame after the other. A frame is not asked for before the one in front is there. */

import type { Stack } from "./stack";

export class Cine {
  private isPlaying = false;
  private turn = 0;

  constructor(
    private readonly stack: Stack,
    private readonly changed: (isPlaying: boolean) => void,
    public framesPerSecond = 15,
  ) {}

  toggle(): void {
    if (this.isPlaying) this.stop();
    else void this.play();
  }

  stop(): void {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    this.turn++;
    this.changed(false);
  }

  private async play(): Promise<void> {
    if (this.stack.length < 2) return;
    this.isPlaying = true;
    this.changed(true);
    const turn = ++this.turn;
    while (turn === this.turn) {
      const started = performance.now();
      await this.stack.show((this.stack.current + 1) % this.stack.length);
      const rest = 1000 / this.framesPerSecond - (performance.now() - started);
      await new Promise((resolve) => setTimeout(resolve, Math.max(rest, 0)));
    }
  }
}
