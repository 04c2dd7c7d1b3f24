package engine

// StreamsFor returns how many streams fit into a limit of open files, 0 = unknown. Each stream is an open file. The
// result 0 means any number.
func StreamsFor(files, processors int) int {
	if files == 0 {
		return 0
	}
	return max(1, files-max(min(1000, files/4), ReservedFiles(processors)))
}

// ReservedFiles is how many open files are kept free for other uses than streams. These are the server's own files,
// some for each processor's writer, and connections that have just arrived.
func ReservedFiles(processors int) int { return 32 + 4*processors }
