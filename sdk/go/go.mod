module github.com/lamphouse/lamphouse/sdk/go

go 1.24
