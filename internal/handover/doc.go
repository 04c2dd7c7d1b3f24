// Package handover lets the successor process of a program take over what this process owns. This is its listeners, the
// descriptors of its open streams, and its state as bytes. The package does not interpret them.
//
// The two processes talk over a Unix socket pair, in five steps:
//
//  1. This process starts the next one and waits for its hello. Nothing has changed yet.
//  2. This process stops, and sends what it owns.
//  3. The next process confirms that it has everything. It has not touched anything yet.
//  4. This process lets the next one continue, and from then on touches nothing any more.
//  5. The next process continues. This process forwards what still reaches it, until it ends.
//
// Until step 4 anything may fail on either side. This process then kills the next one before it continues.
package handover
