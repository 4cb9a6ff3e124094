package ppo

// KLController holds the coefficient of the KL penalty and moves it after each iteration.
type KLController interface {
	Coef() float64
	// Update tells the KL per episode just measured, in nats, and how many episodes it was measured on.
	Update(kl float64, episodes int)
	// Restore sets the coefficient when a run is resumed.
	Restore(coef float64)
}

// FixedKL keeps its coefficient (InstructGPT: 0.02).
type FixedKL struct{ Value float64 }

// Coef implements KLController.
func (c *FixedKL) Coef() float64 { return c.Value }

// Update implements KLController: nothing changes.
func (c *FixedKL) Update(float64, int) {}

// Restore implements KLController.
func (c *FixedKL) Restore(coef float64) { c.Value = coef }

// AdaptiveKL steers the KL per episode towards Target (Ziegler et al. 2019, section 2.2):
//
//	e     = clip(kl/Target - 1, -0.2, 0.2)
//	Value = Value * (1 + e*episodes/Horizon)
type AdaptiveKL struct {
	Value   float64
	Target  float64 // nats per episode
	Horizon float64 // episodes
}

// Coef implements KLController.
func (c *AdaptiveKL) Coef() float64 { return c.Value }

// Update implements KLController.
func (c *AdaptiveKL) Update(kl float64, episodes int) {
	e := min(max(kl/c.Target-1, -0.2), 0.2)
	c.Value *= 1 + e*float64(episodes)/c.Horizon
}

// Restore implements KLController.
func (c *AdaptiveKL) Restore(coef float64) { c.Value = coef }
