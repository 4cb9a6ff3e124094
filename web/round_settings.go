package web

import (
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/setting"
)

// UsualRound puts what admins have set for new rounds into a configuration.
func UsualRound(s *setting.Store, c *loop.Config) {
	if v, ok := s.Chosen(setting.RelabelBelow); ok {
		c.Relabel.Below = v
	}
	if v, ok := s.Chosen(setting.RelabelProbe); ok {
		c.Relabel.Probe = int(v)
	}
	if v, ok := s.Chosen(setting.RelabelPrompts); ok {
		c.Relabel.Prompts = int(v)
	}
}
