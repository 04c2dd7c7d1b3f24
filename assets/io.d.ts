// Types of io.js, which makes io() global.

declare global {
  const io: typeof import('./io.mjs').io
}
export {}
