module headcount/test

go 1.26
