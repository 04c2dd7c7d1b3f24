package main

import (
	"context"
	"errors"
)

// prepareMercure says why there is no program for Mercure: no version of its module could be downloaded when this was
// written, so nothing could be built or tried against it.
func prepareMercure(context.Context, string) ([]string, error) {
	return nil, errors.New("its Go module cannot be downloaded")
}
