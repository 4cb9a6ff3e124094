package experiment

// table lists the experiments in the order in which a set runs them. A1 to A16 are the acceptance tests that they are.
func table() []spec {
	return []spec{
		gradient, sampler, pretrain, sftSpec, rewardCurve, ppoGold, ppoReward, klFrontier, overoptimization, bestOfSpec,
		loopSpec, ensemble, algorithms, labelerNoise, pretrainingMix, resume, faults,
	}
}
