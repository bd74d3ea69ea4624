"""One module for each subject that the doctor examines, such as the token, the issuer or the network.

An examiner adds results to a `Report`. It may import any package below `broker.doctor`, and `broker.doctor.checks`.
It does not know what STS answered or which result is the cause; `broker.doctor.causes` decides that.
"""
