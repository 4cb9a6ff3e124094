package main

import "context"

func (l *lab) lists(ctx context.Context) ([]bar, error) { return nil, nil }
