package web

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

// reason is why a request was refused, for the metrics: one of these, so that no stranger
// makes more of them.
type reason string

const (
	byBadRequest reason = "bad_request"
	byBodySize   reason = "body_too_large"
	bySlowBody   reason = "body_too_slow"
	byToken      reason = "token"
	byEmitOff    reason = "emit_off"
	byOrigin     reason = "origin"
	byStreams    reason = "max_streams"
	byAddress    reason = "max_streams_per_ip"
	byRate       reason = "max_stream_rate"
	byUsers      reason = "max_leases"
	byFiles      reason = "open_files"
	byProbes     reason = "max_probes"
	byStopping   reason = "stopping"
	byCluster    reason = "cluster"
	byRoute      reason = "no_such_route"
	byMistake    reason = "server_error"
	byOther      reason = "other"
)

func (r reason) Error() string { return string(r) }

// refuse is an answer with an error status; words are a sentence that says what to do.
func refuse(status int, why reason, words string) error {
	return echo.NewHTTPError(status, words).SetInternal(why)
}

func badRequest(err error) error {
	return refuse(http.StatusBadRequest, byBadRequest, err.Error())
}

// unavailable is a 503; the error handler adds when to come back.
func unavailable(why reason, words string) error {
	return refuse(http.StatusServiceUnavailable, why, words)
}

func tooLarge(words string) error {
	return refuse(http.StatusRequestEntityTooLarge, byBodySize, words)
}

func tooSlow() error {
	return refuse(http.StatusRequestTimeout, bySlowBody, fmt.Sprintf("body was not there within %v; send it faster", bodyTime))
}
