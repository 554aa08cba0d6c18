// What a user of `import MInference` sees of the modules beneath: the types in its own signatures.
@_exported public import Compute
