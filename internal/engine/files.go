package engine

// StreamsFor returns how many streams fit into as many open files as there may be, 0 = unknown and any number: a
// stream is an open file.
func StreamsFor(files, processors int) int {
	if files == 0 {
		return 0
	}
	return max(1, files-max(min(1000, files/4), ReservedFiles(processors)))
}

// ReservedFiles is how many open files must stay for what is no stream: what the server has for itself (each
// processor's writer has some) and connections that are just arriving.
func ReservedFiles(processors int) int { return 32 + 4*processors }
