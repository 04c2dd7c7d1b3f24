// Types of io.mjs, the browser client of headcount.

export interface Options {
  /** The path of the server, if this script did not come from it: `/live` for `https://host/live/`. Default: where this script came
   * from, and for another host `/`. */
  path?: string
  /** For private rooms of another origin, which gets no cookie of this one. It is part of each address that is asked for. */
  token?: string
  /** `['poll']`: no stream, and no connection shared with other tabs; to try how a page behaves where streams are held back. The first
   * io() of a page for a room decides. */
  transports?: 'poll'[]
  /** The room; then the path of the address is that of the server. Default: the path of the address without its first slash, else `lobby`. 1 to 128 bytes of UTF-8, no control characters. */
  room?: string
  /** false: nothing happens until connect(). Default true. */
  autoConnect?: boolean
}

/** What the server no longer had for a client that came back; null: it cannot tell how many. */
export interface Gap {
  missed: number | null
}

/** Why a connection ended. `io client disconnect`: disconnect() was called. `pagehide`: the user left the page, which may come back. */
export type Reason = 'transport close' | 'transport error' | 'ping timeout' | 'io client disconnect' | 'pagehide'

/** How a page listens to what the client itself tells. */
export interface Reserved {
  connect: () => void
  disconnect: (reason: Reason) => void
  /** No way to the server worked; the next attempt comes by itself, after 0.5 to 1 s at first, 15 to 30 s at most. */
  connect_error: (error: Error) => void
  /** The transport has changed, or has been found: it is in `transport`. After connect. */
  transport: (transport: 'stream' | 'poll' | 'shared') => void
  /** Events were missed. */
  gap: (gap: Gap) => void
  'user count': (users: number) => void
}

/** E names the events of the room and their data. Without it any name may come, with any data. */
export interface Socket<E extends object = Record<string, any>> {
  /** Whether events are coming in: true from the first event of a connection to its end. */
  readonly connected: boolean
  /** The client id, one per page and room, while connected. There is a new one after each disconnect(); a page that is loaded again keeps
   * it. */
  readonly id: string | undefined
  /** The way the events come, while connected: a stream, polls, or either of them by way of another tab of this browser. */
  readonly transport: 'stream' | 'poll' | 'shared' | undefined
  /** Whether the latest connect followed upon an earlier one, and no event was missed in between. */
  readonly recovered: boolean

  /** Calls the listener at each such event. Returns the function that undoes it, which is
   * the socket as well: `io().on(…).on(…)`. The same listener is called once, however often it was added. */
  on<N extends keyof Reserved>(name: N, listener: Reserved[N]): (() => void) & this
  on<N extends keyof E & string>(name: N, listener: (data: E[N]) => void): (() => void) & this

  /** As on, for one event. */
  once<N extends keyof Reserved>(name: N, listener: Reserved[N]): (() => void) & this
  once<N extends keyof E & string>(name: N, listener: (data: E[N]) => void): (() => void) & this
  /** Calls the listener at each event that the server sends, whatever its name. The stream is then read by fetch, because an EventSource
   * listens for names; it begins where the stream of before had got to, so it may bring events of the last heartbeat. Returns the function
   * that undoes it. */
  onAny(listener: (name: string, data: any) => void): (() => void) & this
  /** Undoes on and once: for this listener, for all listeners of the name, or for all. */
  off<N extends keyof Reserved>(name: N, listener?: Reserved[N]): this
  off<N extends keyof E & string>(name?: N, listener?: (data: E[N]) => void): this

  connect(): this
  /** As connect. */
  open(): this
  /** Ends it, and says so to the server: this client is no longer counted. */
  disconnect(): this
  /** As disconnect. */
  close(): this

  /** Always throws an Error, which says how to emit from a server: a browser only listens. */
  emit(name: string, ...data: any[]): never
}

/**
 * Subscribes to a room: io() to `lobby` and io('/room') to `room` of the server that this script came from, io('https://other.host/room')
 * and io('localhost:8080/room') to a room of another one, which must name this page's origin in its -origins.
 * All sockets of a page for one room share one connection, and count as one user. So do the pages of all tabs of a browser that
 * have the same origin, each of which counts: one of them is connected for all.
 * io<{ news: News }>() knows the events of the room: a name that is none of them does not compile.
 */
export interface Io {
  <E extends object = Record<string, any>>(address?: string | URL, options?: Options): Socket<E>
  <E extends object = Record<string, any>>(options: Options): Socket<E>
  /** As io itself. */
  connect: Io
}
export const io: Io

declare global {
  interface HTMLElementTagNameMap {
    /** `<user-count room="lobby">`: the number of users in the room, as text. With `server="https://other.host/live"` of another server. */
    'user-count': HTMLElement
  }
}
