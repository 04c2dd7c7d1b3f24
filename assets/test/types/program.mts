// A program that uses what there is, and what there is not: tsc says if the types allow the first and refuse the second.
import { io, type Socket } from 'headcount'

const socket = io('/room', { path: '/live', token: 'x', transports: ['poll'], autoConnect: false })
const undo = socket.on('user count', (users) => console.log(users.toFixed()))
undo()
const chain: Socket = io({ room: 'a' })
  .on('connect', () => {})
  .on('news', (data) => console.log(data))
chain.open().close().connect().disconnect()
io.connect(new URL('https://host/room')).onAny((name, data) => console.log(name.trim(), data))
socket.on('disconnect', (reason) => console.log(reason === 'transport close'))
socket.on('connect_error', (error) => console.log(error.message))
socket.on('gap', ({ missed }) => console.log(missed ?? 'some'))
document.querySelector('user-count')?.setAttribute('room', 'a')

interface Events {
  news: { title: string }
}
const typed = io<Events>('/news')
typed.on('news', ({ title }) => console.log(title.trim()))
// @ts-expect-error: there is no such event
typed.on('olds', () => {})
// @ts-expect-error: only polls can be chosen
io({ transports: ['websocket'] })
