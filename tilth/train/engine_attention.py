"""Core attention by Transformer Engine, where it is installed and a recipe asks for it.

PyTorch's kernels are the default: they need nothing, run everywhere and are what the tests compare. Transformer Engine
has cuDNN's kernels beside flash attention, which is worth a try on newer GPUs. Written to Megatron-core 0.16.1's
interface; no machine with Transformer Engine was at hand, so compare the first losses with those of ``sdpa``.
"""

from importlib.util import find_spec
from typing import Any

from tilth.corpus.errors import UserError

CHOICE = "transformer-engine"


def check_installed() -> None:
    """Raise ``UserError`` where Transformer Engine is not installed, or not the part of it for PyTorch."""
    if find_spec("transformer_engine") is None or find_spec("transformer_engine.pytorch") is None:
        raise UserError(
            f"optimisation.attention: found {CHOICE}, but the package 'transformer-engine' is not installed; install "
            f"it on a machine with a GPU (pip install 'transformer-engine[pytorch]') or say sdpa"
        )


def engine_attention() -> type[Any]:
    """Return a drop-in for the ``core_attention`` of Megatron's local layer spec. Raises as ``check_installed``."""
    check_installed()
    from megatron.core.extensions.transformer_engine import TEDotProductAttention
    from megatron.core.transformer.enums import AttnMaskType

    class EngineAttention(TEDotProductAttention):
        """Transformer Engine's attention by the rule of ``FusedAttention``: a mask, where there is one, says all."""

        def __init__(self, config: Any, layer_number: int, attn_mask_type: AttnMaskType, *more: Any, **named: Any):
            super().__init__(config, layer_number, attn_mask_type, *more, **named)
            self.causal = attn_mask_type == AttnMaskType.causal

        def forward(
            self, query: Any, key: Any, value: Any, mask: Any, attn_mask_type: Any = None, *more: Any, **named: Any
        ) -> Any:
            """Attend as ``FusedAttention.forward`` does."""
            whole = not self.causal or attn_mask_type == AttnMaskType.no_mask
            kind = AttnMaskType.no_mask if whole else AttnMaskType.causal
            kind = kind if mask is None else AttnMaskType.arbitrary
            return super().forward(query, key, value, mask, kind, *more, **named)

    return EngineAttention
