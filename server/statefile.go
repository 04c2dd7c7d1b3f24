package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"headcount"
	"headcount/internal/snapshot"
)

// maxStateAge is how old a state may be. After that no client is still reconnecting.
const maxStateAge = time.Minute

// loadState reads the file that saveState wrote, and removes it, so that a second start does not use the same state
// again. It returns nil if there is no usable state. The server starts all the same.
func loadState(path string, log *slog.Logger) *headcount.Snapshot {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var state *headcount.Snapshot
	if err == nil {
		state, err = headcount.ReadSnapshot(data, nil)
	}
	if err != nil {
		log.Warn("state not used", "file", path, "error", err)
		return nil
	}
	if err := os.Remove(path); err != nil {
		log.Warn("state not used, because its file could not be removed", "file", path, "error", err)
		return nil
	}
	if age := time.Since(state.Written()); age > maxStateAge {
		log.Info("state is too old", "file", path, "age", age.Round(time.Second))
		return nil
	}
	log.Info("state read", "file", path, "users", state.Users())
	return state
}

// saveState writes the state of a stopped server. The file appears complete or not at all. Only its owner can read it,
// because it holds events, client ids and idempotency keys.
func saveState(path string, state *headcount.Snapshot) error {
	data, err := state.Bytes()
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("save state: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// isForeign reports whether a file holds something that headcount did not write, and that is not to be overwritten. A
// file that cannot be read may belong to somebody else.
func isForeign(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if len(data) == 0 {
		return false
	}
	_, err = headcount.ReadSnapshot(data, nil)
	return errors.Is(err, snapshot.ErrForeign)
}

// checkState reports whether a state can be saved at the end, and whether an existing file is a state that may be
// replaced.
func checkState(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("-state %s is not a file", path)
	}
	probe, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("-state: %w; use a file in a directory that this program can write to", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
