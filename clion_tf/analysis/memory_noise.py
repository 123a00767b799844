"""Noise on the memory h of an agent that acts: what robustness of memory is worth in returns.

        o_t                    h_t, s_t   posterior of frame o_t after z'_(t-1) and a_(t-1)
         |                     h'_t       h_t + sigma * scale_t * e_t,   e_t ~ N(0, 1) of each unit
    z'_(t-1) -a_(t-1)- z'_t    z'_t       (s_t, h'_t): what the actor reads, and what is carried on

Absolute: scale_t = 1, in units of h, as sigma1 and sigma_h are. Relative: the standard deviation
over the episode so far of the memory *without* noise, of the same frames and actions: one that
noise has widened would ask for more noise, and grow without end.
"""

import tensorflow as tf

from clion_tf.agents.base import Learner, Tensors
from clion_tf.config import Config
from clion_tf.learning.noise import Noise
from clion_tf.learning.preprocessing import preprocess


class NoisyMemory(Learner):
    """An agent that acts with noise on its memory at every step; it is not trained.

    Args:
      config: the run's options; the seed names the noise, the same at each amount but for its size.
      agent: `clion_tf.agents.clion.Agent`, whose networks are used.
      amount: sigma, 0 or more.
      relative: count it in standard deviations of h over the episode so far, else in units of h.
    """

    def __init__(self, config: Config, agent, amount: float, relative: bool = True):
        super().__init__(config, agent.action_size, agent.discrete, agent.observed)
        self.models, self.optimizers = agent.models, agent.optimizers
        self.acting_networks = agent.acting_networks
        self._agent, self._amount, self._relative = agent, amount, relative

    def initial(self, batch: int) -> dict[str, Tensors]:
        """The agent's state; with a relative amount also the one without noise, and its spread."""
        noisy = self._agent.initial(batch)
        if not self._relative:
            return {"noisy": noisy}
        return {"noisy": noisy, "clean": noisy, "spread": begin_spread(noisy["deter"])}

    def policy_step(
        self,
        observation: Tensors,
        state: dict[str, Tensors],
        noise: Noise,
        training: bool,
        amount: tf.Tensor | float,
        models=None,
    ) -> tuple[tf.Tensor, dict[str, Tensors]]:
        """See Learner; `amount` is that of exploration noise."""
        agent = self._agent
        models = agent.models if models is None else models
        embed = models.encode(preprocess(observation))
        found = {"noisy": agent.perceive(models, embed, state["noisy"], noise)}
        scale, after = 1.0, {}
        if self._relative:
            found["clean"] = agent.perceive(models, embed, state["clean"], noise)
            after["spread"] = widen(state["spread"], found["clean"]["deter"])
            scale = spread_of(after["spread"])
        deter = found["noisy"]["deter"]
        added = self._amount * scale * noise.normal("memory", tf.shape(deter))
        found["noisy"]["deter"] = deter + tf.cast(added, deter.dtype)
        action = agent.decide(models, found["noisy"], noise, training, amount)
        return action, {**after, **{key: {**one, "action": action} for key, one in found.items()}}


def begin_spread(deter: tf.Tensor) -> Tensors:
    """What `widen` goes on from, before the first of the memories [N, D]."""
    zeros = tf.zeros(deter.shape)
    return {"count": tf.zeros([]), "mean": zeros, "squares": zeros}


def widen(spread: Tensors, deter: tf.Tensor) -> Tensors:
    """Counts another memory [N, D] in (Welford): how many, mean and sum of squared distances."""
    deter = tf.cast(deter, tf.float32)
    count = spread["count"] + 1.0
    mean = spread["mean"] + (deter - spread["mean"]) / count
    squares = spread["squares"] + (deter - spread["mean"]) * (deter - mean)
    return {"count": count, "mean": mean, "squares": squares}


def spread_of(spread: Tensors) -> tf.Tensor:
    """Standard deviation of the memories so far, over time (ddof 0), pooled over units, [N, 1].

    Of each unit by itself, those that happen to stand still would be spared, and few steps would
    have to tell each of many numbers. After one memory it is 0.
    """
    return tf.sqrt(tf.reduce_mean(spread["squares"], -1, keepdims=True) / spread["count"])
