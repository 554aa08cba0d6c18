// What a user of `import MInference` sees of the modules beneath: the types in its own signatures.
@_exported public import ChatTemplates
@_exported public import Checkpoints
@_exported public import Compute
@_exported public import Pipeline
@_exported public import SparseAttention
@_exported public import Tokenizers
@_exported public import Transformers
