"""The viewer: its TypeScript (`src/`), what is built of it (`dist/`), and what serves it and OHIF. See docs/design/viewer.md."""
