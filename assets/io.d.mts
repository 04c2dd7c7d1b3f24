// Types of io.mjs, the browser client of headcount.

export interface Options {
  /** The room; default: the path of the address without its first slash, else `lobby`. 1 to 128 bytes of UTF-8, no control characters. */
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

export interface Socket {
  /** Whether events are coming in: true from the first event of a connection to its end. */
  readonly connected: boolean
  /** The client id, one per page and room, while connected. There is a new one after each disconnect() and after each return to the page; a page
   * that is loaded again keeps it. */
  readonly id: string | undefined
  /** The way the events come, while connected: a stream, polls, or either of them by way of another tab of this browser. */
  readonly transport: 'stream' | 'poll' | 'shared' | undefined
  /** Whether the latest connect followed upon an earlier one, and no event was missed in between. */
  readonly recovered: boolean

  /** Calls the listener at each such event. Returns the function that undoes it. The same listener is called once, however often it was added. */
  on(name: 'connect', listener: () => void): () => void
  on(name: 'disconnect', listener: (reason: Reason) => void): () => void
  /** No way to the server worked; the next attempt comes by itself, after 0.5 to 1 s at first, 15 to 30 s at most. */
  on(name: 'connect_error', listener: (error: Error) => void): () => void
  /** The way has changed, or has been found: it is in `transport`. After connect. */
  on(name: 'transport', listener: (transport: 'stream' | 'poll' | 'shared') => void): () => void
  /** Events were missed. */
  on(name: 'gap', listener: (gap: Gap) => void): () => void
  on(name: 'user count', listener: (users: number) => void): () => void
  on(name: string, listener: (data: any) => void): () => void

  /** As on, for one event. */
  once(name: string, listener: (data: any) => void): () => void
  /** Calls the listener at each event that the server sends, whatever its name. Returns the function that undoes it. */
  onAny(listener: (name: string, data: any) => void): () => void
  /** Undoes on and once: for this listener, for all listeners of the name, or for all. */
  off(name?: string, listener?: (data: any) => void): void

  connect(): this
  /** Ends it, and says so to the server: this client is no longer counted. */
  disconnect(): this

  /** Always throws an Error, which says how to emit from a server: a browser only listens. */
  emit(name: string, ...data: any[]): never
}

/**
 * Subscribes to a room: io() to `lobby` and io('/room') to `room` of the server that this page came from (not the one this
 * script came from), io('https://other.host/room') to a room of another one, which must name this page's origin in its -origins.
 * All sockets of a page for one room share one connection, and count as one user. So do the pages of all tabs of a browser that
 * have the same origin, each of which counts: one of them is connected for all.
 */
export function io(address?: string | URL, options?: Options): Socket
export function io(options: Options): Socket

declare global {
  interface HTMLElementTagNameMap {
    /** `<user-count room="lobby">`: the number of users in the room, as text. */
    'user-count': HTMLElement
  }
}
