package cluster

import "testing"

func TestSum(t *testing.T) {
	moves := func(pairs ...any) map[string]int {
		m := make(map[string]int)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1].(int)
		}
		return m
	}
	alive := func(node string) bool { return node == "late-0" }
	for _, row := range []struct {
		name    string
		entries []entry
		want    int
	}{
		{"nobody", nil, 0},
		{"two nodes", []entry{{ID: "a-0-1", Users: 3}, {ID: "b-0-1", Users: 4}}, 7},
		{"come, not gone yet", []entry{{ID: "a-0-1", Users: 3}, {ID: "b-0-1", Users: 5, In: moves("a-0-1", 1)}}, 7},
		{"gone, not come yet", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}, {ID: "b-0-1", Users: 4}}, 7},
		{"gone and come", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}, {ID: "b-0-1", Users: 5, In: moves("a-0-1", 1)}}, 7},
		{"there and back", []entry{
			{ID: "a-0-1", Users: 3, Out: moves("b-0-1", 1), In: moves("b-0-1", 1)},
			{ID: "b-0-1", Users: 4, In: moves("a-0-1", 1), Out: moves("a-0-1", 1)},
		}, 7},
		{"from a node that is dead", []entry{{ID: "b-0-1", Users: 5, In: moves("a-0-1", 1)}}, 5},
		{"to a node that is dead", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}}, 2},
		{"to a node that has said nothing yet", []entry{{ID: "a-0-1", Users: 2, Out: moves("late-0-9", 1)}}, 3},
		{"to an entry before the one there is", []entry{{ID: "a-0-1", Users: 2, Out: moves("late-0-9", 1)}, {ID: "late-0-12", Users: 1}}, 3},
		{"from an entry before the one there is", []entry{{ID: "a-0-2", Users: 2}, {ID: "b-0-1", Users: 1, In: moves("a-0-1", 1)}}, 3},
		{"closed", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}, {ID: "b-0-1", Closed: true}}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := sum(row.entries, alive); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}
