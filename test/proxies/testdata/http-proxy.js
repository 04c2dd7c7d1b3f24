require('http-proxy')
  .createProxyServer({ target: 'http://127.0.0.1:8080' })
  .on('error', (error, request, response) => response.writeHead?.(502).end())
  .listen(8000, '127.0.0.1')
