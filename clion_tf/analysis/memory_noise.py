"""Noise on the memory h of an agent that acts: what robustness of memory is worth in returns.

        o_t                    h_t, s_t   posterior of frame o_t after z'_(t-1) and a_(t-1)
         |                     h'_t       h_t + sigma * scale_t * e_t,   e_t ~ N(0, 1) of each unit
    z'_(t-1) -a_(t-1)- z'_t    z'_t       (s_t, h'_t): what the actor reads, and what is carried on

Absolute: scale_t = 1, so sigma is in units of h. Relative: scale_t is the standard deviation of h
over the episode so far, in a second memory *without* noise on the same frames and actions (else
the noise would widen its own scale without end). It is one number, the root of the units' mean
variance, so that units that hardly move get noise as well. At the first step it is 0.
"""

import tensorflow as tf
from tensorflow_probability import experimental as tfe

from clion_tf.agents.base import Learner, Tensors
from clion_tf.config import Config
from clion_tf.learning.preprocessing import preprocess


class NoisyMemory(Learner):
    """Acts as a CLION agent with noise on its memory at every step; it is not trained.

    The seed of `config` names the noise, the same at each `amount` but for its size.
    """

    def __init__(self, config: Config, agent, amount: float, relative: bool = True):
        super().__init__(config, agent.action_size, agent.discrete, agent.observed)
        self.models, self.optimizers = agent.models, agent.optimizers
        self.acting_networks = agent.acting_networks
        self.quiet, self._amount, self._relative = agent, amount, relative

    def initial(self, batch: int) -> Tensors:
        """The agent's state; with a relative amount also the one without noise, and its spread."""
        noisy = self.quiet.initial(batch)
        if not self._relative:
            return {"noisy": noisy}
        spread = tfe.stats.RunningVariance.from_shape(noisy["deter"].shape)
        return {"noisy": noisy, "clean": noisy, "spread": spread.tree_flatten()[0]}

    def policy_step(self, observation, state, noise, training, amount, models):
        """See Learner; `amount` is that of exploration noise."""
        agent = self.quiet
        embed = models.encode(preprocess(observation))
        found = {"noisy": agent.perceive(models, embed, state["noisy"], noise)}
        scale, after = 1.0, {}
        if self._relative:
            found["clean"] = agent.perceive(models, embed, state["clean"], noise)
            spread = tfe.stats.RunningVariance(*state["spread"], event_ndims=0)
            spread = spread.update(found["clean"]["deter"])
            after["spread"] = spread.tree_flatten()[0]
            scale = tf.sqrt(tf.reduce_mean(spread.variance(), -1, keepdims=True))
        deter = found["noisy"]["deter"]
        added = self._amount * scale * noise.normal("memory", tf.shape(deter))
        found["noisy"]["deter"] = deter + tf.cast(added, deter.dtype)
        action = agent.decide(models, found["noisy"], noise, training, amount)
        return action, {**after, **{key: {**one, "action": action} for key, one in found.items()}}
