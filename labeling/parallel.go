package labeling

import (
	"errors"
	"runtime"
	"sync"
)

// batchBytes is how much text goes to a parser at a time.
const batchBytes = 256 << 10

type batch[T any] struct {
	text []byte
	ends []int // of the pieces in text
	ns   []int // their numbers
	out  []T
	done chan struct{}
}

// parallel lets several goroutines work on the pieces of text that produce gives, and
// calls emit with what they make of them, one at a time and in the order of the pieces.
// The first error of produce or emit ends it. No goroutine outlives it.
func parallel[T any](produce func(func(n int, text []byte) error) error, work func(n int, text []byte) T, emit func(T) error) error {
	workers := runtime.GOMAXPROCS(0)
	pending := make(chan *batch[T], workers)
	order := make(chan *batch[T], 2*workers)
	stop := make(chan struct{})
	var failure error // of produce; read after order is closed
	go func() {
		defer close(order)
		defer close(pending)
		b := new(batch[T])
		send := func() error {
			b.done = make(chan struct{})
			for _, c := range []chan *batch[T]{order, pending} {
				select {
				case c <- b:
				case <-stop:
					return errStopped
				}
			}
			b = &batch[T]{text: make([]byte, 0, batchBytes)}
			return nil
		}
		failure = produce(func(n int, text []byte) error {
			b.text = append(b.text, text...)
			b.ends, b.ns = append(b.ends, len(b.text)), append(b.ns, n)
			if len(b.text) < batchBytes {
				return nil
			}
			return send()
		})
		if len(b.ns) > 0 && failure != errStopped {
			if err := send(); failure == nil {
				failure = err
			}
		}
	}()
	var working sync.WaitGroup
	defer working.Wait()
	for range workers {
		working.Go(func() {
			for b := range pending {
				start := 0
				for i, end := range b.ends {
					b.out = append(b.out, work(b.ns[i], b.text[start:end]))
					start = end
				}
				close(b.done)
			}
		})
	}
	var err error
	for b := range order {
		if err == nil {
			<-b.done
			for _, v := range b.out {
				if err = emit(v); err != nil {
					close(stop)
					break
				}
			}
		}
	}
	if err == nil {
		err = failure
	}
	return err
}

// eachAtOnce calls f for every element of a list, up to n at a time, and returns what went wrong.
func eachAtOnce[T any](list []T, n int, f func(T) error) error {
	var working sync.WaitGroup
	next := make(chan T, len(list))
	for _, v := range list {
		next <- v
	}
	close(next)
	errs := make([]error, n)
	for w := range n {
		working.Go(func() {
			for v := range next {
				if errs[w] = f(v); errs[w] != nil {
					return
				}
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}
