module order-summary-go

go 1.24

require github.com/lamphouse/lamphouse/sdk/go v0.0.0

replace github.com/lamphouse/lamphouse/sdk/go => ../../sdk/go
