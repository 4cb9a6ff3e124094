package main

import (
	"context"
	"fmt"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web"
)

// A keeper is the web.Memory of its process.

// Free is what further policies may take: of the operator's limit what those that are loaded leave, and no more than the machine has when
// these have taken all that they may.
func (k *keeper) Free() (bytes int64, known bool) {
	all, untaken := k.slot.Memory()
	if free, ok := k.free(); ok {
		bytes, known = free-untaken, true
	}
	if left := k.limit - all; k.limit > 0 && (!known || left < bytes) {
		bytes, known = left, true
	}
	return bytes, known
}

// Room refuses, with a *web.NoRoomError, a version that takes more than is free.
func (k *keeper) Room(ctx context.Context, v registry.Version) error { return k.roomBeside(ctx, v, 0) }

// roomBeside is Room where so many bytes are promised to what the slot does not hold yet.
func (k *keeper) roomBeside(ctx context.Context, v registry.Version, promised int64) error {
	weights, kv, err := k.need(ctx, v)
	if err != nil {
		return err
	}
	free, known := k.Free()
	if !known || weights+kv <= free-promised {
		return nil
	}
	e := &web.NoRoomError{Name: v.Name, Weights: weights, KV: kv, Free: max(free-promised, 0)}
	if all, _ := k.slot.Memory(); k.limit > 0 && k.limit-all == free {
		e.Limit = k.limit
	}
	return e
}

// need is what a version takes at most: its weights as they are kept, and the engine's keys and values.
func (k *keeper) need(ctx context.Context, v registry.Version) (weights, kv int64, err error) {
	shape, err := k.shape(ctx, v)
	if err != nil {
		return 0, 0, err
	}
	kv, err = k.engine.CacheBytes(shape)
	return shape.PackedBytes(k.weights), kv, err
}

func (k *keeper) shape(ctx context.Context, v registry.Version) (model.Config, error) {
	if c, ok := k.shapes.Load(v.Digest); ok {
		return c.(model.Config), nil
	}
	dir, err := k.app.blobs.Open(ctx, v.Digest)
	if err != nil {
		return model.Config{}, fmt.Errorf("weights of %s: %w", v.Name, err)
	}
	d, err := checkpoint.Describe(dir)
	if err != nil {
		return model.Config{}, fmt.Errorf("%s: %w", v.Name, err)
	}
	k.shapes.Store(v.Digest, d.Config)
	return d.Config, nil
}
