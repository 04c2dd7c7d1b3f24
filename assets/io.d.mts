// The types of io.mjs, the browser client of headcount.

export interface Options {
  /**
   * The path of the server, such as `/live` for `https://host/live/`. By default it is the path that this script was
   * loaded from. For another host, or if a bundler has included this script, the default is `/`.
   */
  path?: string
  /**
   * The token for a private room on a server of another origin, because browsers send that server no cookies. It is
   * added to every request URL.
   */
  token?: string
  /**
   * `['poll']` makes the client poll, without a stream and without sharing a connection with other tabs. Use it to test
   * a page for networks that hold streams back. The first io() call of a page for a room decides for that room.
   */
  transports?: 'poll'[]
  /**
   * The room: 1 to 128 bytes of UTF-8 without control characters. If it is set, the path of the address is the path of
   * the server. Otherwise the path of the address, without its first slash, is the room. The default is `lobby`.
   */
  room?: string
  /** If false, the socket does not connect until you call connect(). The default is true. */
  autoConnect?: boolean
}

/** The events that a client missed because the server no longer has them. */
export interface Gap {
  /** The number of missed events, or null if the server does not know it. */
  missed: number | null
}

/**
 * Why a connection ended. `transport close` means that it worked and then broke, `transport error` that a request
 * failed, and `ping timeout` that nothing arrived for too long. `io client disconnect` means that the page called
 * disconnect(). `pagehide` means that the user left the page. The browser may show the same page again later.
 */
export type Reason = 'transport close' | 'transport error' | 'ping timeout' | 'io client disconnect' | 'pagehide'

/** The listeners for the events of the client itself. */
export interface Reserved {
  /** Events arrive now. */
  connect: () => void
  /** Events no longer arrive. Unless the page disconnected, the client reconnects by itself. */
  disconnect: (reason: Reason) => void
  /**
   * The server could not be reached, or it refused the request. The client retries by itself, after 0.5 to 1 s at first
   * and after 15 to 30 s at most. A `Retry-After` of the server is added.
   */
  connect_error: (error: Error) => void
  /** The transport is known, or has changed. The first one comes right after `connect`. */
  transport: (transport: 'stream' | 'poll' | 'shared') => void
  /** The client missed events. */
  gap: (gap: Gap) => void
  /** The number of users in the room has changed. The first one comes after `connect`. */
  'user count': (users: number) => void
}

/**
 * A subscription to a room. E maps the names of the room's events to their data. Without E, every name and all data are
 * allowed.
 */
export interface Socket<E extends object = Record<string, any>> {
  /** Whether the socket receives events. It is true from the first event of a connection until its end. */
  readonly connected: boolean
  /**
   * The client id, while connected. All sockets of a page for one room have the same id. A reload keeps it, and after
   * disconnect() the client gets a new one.
   */
  readonly id: string | undefined
  /** How the events arrive, while connected. `shared` means that another tab receives them and passes them on. */
  readonly transport: 'stream' | 'poll' | 'shared' | undefined
  /** Whether the latest connection continued an earlier one without missing an event. */
  readonly recovered: boolean

  /**
   * Calls the listener for every event of this name. It returns a function that removes the listener. This function is
   * also the socket, so you can chain calls: `io().on(…).on(…)`. A listener that is added twice is still called once.
   */
  on<N extends keyof Reserved>(name: N, listener: Reserved[N]): (() => void) & this
  on<N extends keyof E & string>(name: N, listener: (data: E[N]) => void): (() => void) & this

  /** Like on, but removes the listener after one event. */
  once<N extends keyof Reserved>(name: N, listener: Reserved[N]): (() => void) & this
  once<N extends keyof E & string>(name: N, listener: (data: E[N]) => void): (() => void) & this
  /**
   * Calls the listener for every event of the room, whatever its name. The client then reads the stream with fetch,
   * because an EventSource delivers only events with known names. The new stream resumes after the last event that a
   * listener or the client itself received. Only `user count` is repeated. Earlier events without a listener may arrive
   * now, usually those since the last heartbeat. It returns a function that removes the listener.
   */
  onAny(listener: (name: string, data: any) => void): (() => void) & this
  /** Removes this listener, all listeners of the name, or all listeners of the socket. */
  off<N extends keyof Reserved>(name: N, listener?: Reserved[N]): this
  off<N extends keyof E & string>(name?: N, listener?: (data: E[N]) => void): this

  /** Starts to receive events. It does nothing if the socket is connected or connecting. */
  connect(): this
  /** The same as connect. */
  open(): this
  /**
   * Stops receiving events. When the last socket of a page for a room disconnects, the client says goodbye, and the
   * server no longer counts this user.
   */
  disconnect(): this
  /** The same as disconnect. */
  close(): this

  /** Always throws an Error that says how to emit from a server, because a browser cannot emit. */
  emit(name: string, ...data: any[]): never
}

/**
 * Subscribes to a room. io() subscribes to `lobby` and io('/room') to `room`, on the server that this script was loaded
 * from. io('https://other.host/room') and io('localhost:8080/room') subscribe to a room on another server. That server
 * must list this page's origin in its `-origins`.
 *
 * All sockets of a page for one room share one connection and count as one user. All tabs of a browser with the same
 * origin share one connection per room too, but each tab counts as a user.
 *
 * io<{ news: News }>() declares the events of the room. Then any other name is a compile error.
 */
export interface Io {
  <E extends object = Record<string, any>>(address?: string | URL, options?: Options): Socket<E>
  <E extends object = Record<string, any>>(options: Options): Socket<E>
  /** The same as io. */
  connect: Io
}
export const io: Io

declare global {
  interface HTMLElementTagNameMap {
    /**
     * `<user-count room="lobby">` shows the number of users in the room as text. Add
     * `server="https://other.host/live"` for a room on another server.
     */
    'user-count': HTMLElement
  }
}
