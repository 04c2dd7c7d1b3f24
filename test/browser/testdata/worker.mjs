import { io } from '/assets/io.mjs'

io().on('user count', (users) => postMessage(users))
