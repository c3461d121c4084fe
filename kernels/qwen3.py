"""Shapes of Qwen3-14B and of the tiles and pages its kernels use; plain numbers, no imports.

Sizes are in elements, EPS and ROPE_THETA have no unit.
"""

# The model. Source: config.json of Qwen/Qwen3-14B on the Hugging Face hub (hidden_size, intermediate_size,
# num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, vocab_size, rms_norm_eps,
# rope_theta).
HIDDEN = 5120
INTERMEDIATE = 17408
LAYERS = 40
HEADS = 40
KV_HEADS = 8
HEAD_DIM = 128
VOCAB = 151936
EPS = 1e-6
ROPE_THETA = 1e6

# What follows from it: RoPE turns element i of a head's first half together with element i of its second
# half; a KV head serves Q_PER_KV query heads.
HALF_DIM = HEAD_DIM // 2
Q_PER_KV = HEADS // KV_HEADS
KV_HIDDEN = KV_HEADS * HEAD_DIM

# Padding. Source: pypto-lib's Qwen3-14B kernels. 16 rows are the smallest cube tile, so the 5 query rows of a
# KV head are padded to 16; the vocabulary is padded to a multiple of 512 (152064 = 297 * 512).
Q_PAD = 16
VOCAB_PADDED = 152064

# The paged KV cache and decode's batch. Source: pypto-lib's Qwen3-14B kernels (block of 128 tokens, batch
# tile of 16, of which fewer rows may be real; context to 4096). A page holds PAGE tokens of every KV head:
# cache row = (page * KV_HEADS + head) * PAGE + token's offset in the page.
PAGE = 128
MAX_CTX = 4096
MAX_PAGES = MAX_CTX // PAGE
BATCH = 16

# Prefill: tokens of a sequence that one call takes; a longer prompt comes in chunks.
MAX_CHUNK = 512
