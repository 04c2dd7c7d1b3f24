# docker build -t headcount .
# docker run -p 8080:8080 -e HEADCOUNT_TOKEN=… headcount
#
# All options are variables, so that the health check has the same ones. The same commands as "task build:here".
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/ ./server ./client

FROM scratch
# For -nats over TLS with a certificate that a public authority has signed.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/server /out/client /
# By number: Kubernetes' runAsNonRoot wants to see that it is not root's.
USER 65532:65532
# The admin listener is on the container's own loopback. For Prometheus set HEADCOUNT_ADMIN=:8081, and publish that
# port to nobody else: it has no password.
EXPOSE 8080
# The streams are handed over in HEADCOUNT_DRAIN, 10s by default: docker stop --time 15.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/server", "-health"]
ENTRYPOINT ["/server"]
