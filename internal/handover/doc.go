// Package handover lets the next process of a program take over what this one has: listeners, the descriptors of open
// streams, and a state as bytes. It knows nothing of what they mean.
//
// The two talk over a Unix socket pair, in five steps:
//
//  1. This process starts the next one and waits for its hello. Nothing has changed yet.
//  2. This process stops, and sends what it has.
//  3. The next process confirms that it has everything. It has not touched anything yet.
//  4. This process says go, and from then on touches nothing any more.
//  5. The next process goes on.
//
// Until step 4 anything may fail on either side. Then this process ends the next one for good before it goes on.
package handover
