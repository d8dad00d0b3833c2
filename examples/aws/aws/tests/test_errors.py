"""The meaning of each error of EC2 in its API reference, as of November 2025."""

import pytest

from ..errors import refusal

CODES = {
    "UNAUTHENTICATED": """
        AuthFailure IDPRejectedClaim IncompleteSignature InvalidClientTokenId InvalidIdentityToken
        InvalidSecurity.RequestHasExpired
        MissingAuthenticationToken RequestExpired SignatureDoesNotMatch ExpiredToken
        ExpiredTokenException InvalidSignatureException UnrecognizedClientException""",
    "PERMISSION_DENIED": """
        AccessDenied AccessDeniedException AccountDisabled Blocked OptInRequired
        DeclarativePoliciesAccessDeniedException InaccessibleStorageLocation
        InaccessibleStorageLocationException LogDestinationPermissionIssue UnauthorizedOperation""",
    "UNAVAILABLE": """
        BundlingInProgress ConcurrentTagAccess IDPCommunicationError
        CreditSpecificationUpdateInProgress InternalError
        InternalFailure InvalidInstanceID.NotFound InvalidNextToken InvalidPaginationToken
        RequestLimitExceeded RetryableError ServerInternal ServiceUnavailable Throttling
        ThrottlingException RequestThrottled SnapshotCreationPerVolumeRateExceeded Unavailable
        Client.InstanceInitiatedShutdown Client.InstanceTerminated
        Client.UserInitiatedHibernate Client.UserInitiatedShutdown Server.InternalError
        Server.ScheduledStop Server.SpotInstanceShutdown Server.SpotInstanceTermination""",
    "RESOURCE_EXHAUSTED": """
        ActiveVpcPeeringConnectionPerVpcLimitExceeded AddressLimitExceeded BandwidthLimitExceeded
        CapacityBlockDescribeLimitExceeded ClientVpnAuthorizationRuleLimitExceeded
        ClientVpnEndpointLimitExceeded ClientVpnRouteLimitExceeded
        ConcurrentCreateImageNoRebootLimitExceeded ConcurrentSnapshotLimitExceeded
        CustomerGatewayLimitExceeded FlowLogsLimitExceeded HostLimitExceeded
        IncompatibleHostRequirements InstanceLimitExceeded InsufficientAddressCapacity
        InsufficientCapacity InsufficientCapacityOnHost InsufficientFreeAddressesInSubnet
        InsufficientHostCapacity InsufficientInstanceCapacity InsufficientReservedInstanceCapacity
        InsufficientReservedInstancesCapacity InsufficientVolumeCapacity
        InternetGatewayLimitExceeded InvalidCapacityReservationState.PendingActivation
        KeyPairLimitExceeded MaxConfigLimitExceededException MaxIOPSLimitExceeded
        MaxScheduledInstanceCapacityExceeded MaxSpotFleetRequestCountExceeded
        MaxSpotInstanceCountExceeded MaxTemplateLimitExceeded MaxTemplateVersionLimitExceeded
        NatGatewayLimitExceeded NetworkAclEntryLimitExceeded NetworkAclLimitExceeded
        NetworkInterfaceLimitExceeded OutstandingVpcPeeringConnectionLimitExceeded
        PendingSnapshotLimitExceeded PendingVpcPeeringConnectionLimitExceeded
        PlacementGroupLimitExceeded ReservationCapacityExceeded ReservedInstancesCountExceeded
        ReservedInstancesLimitExceeded ReservedInstancesUnavailable ResourceCountLimitExceeded
        ResourceLimitExceeded RouteLimitExceeded RouteTableLimitExceeded
        RulesPerSecurityGroupLimitExceeded ScheduledInstanceLimitExceeded
        ScheduledInstanceSlotNotOpen ScheduledInstanceSlotUnavailable SnapshotLimitExceeded
        SpotMaxPriceTooLow SubnetLimitExceeded TargetCapacityLimitExceededException
        UnavailableHostRequirements UnfulfillableCapacity Unsupported UpdateLimitExceeded
        VcpuLimitExceeded VolumeLimitExceeded VolumeModificationSizeLimitExceeded
        VolumeTypeNotAvailableInZone VpcEndpointLimitExceeded VpcLimitExceeded
        VpcPeeringConnectionsPerVpcLimitExceeded VpnConnectionLimitExceeded
        VpnGatewayAttachmentLimitExceeded VpnGatewayLimitExceeded Client.VolumeLimitExceeded
        Server.InsufficientInstanceCapacity""",
    "FAILED_PRECONDITION": """
        CannotDelete Client.InternalError CustomerKeyHasBeenRevoked RegionDisabledException
        DefaultSubnetAlreadyExistsInAvailabilityZone DefaultVpcAlreadyExists DefaultVpcDoesNotExist
        DependencyViolation ExistingVpcEndpointConnections FleetNotInModifiableState
        IncorrectInstanceState IncorrectModificationState IncorrectSpotRequestState IncorrectState
        IncorrectStateException InterfaceInUseByTrafficMirrorSession InvalidAddress.Locked
        InvalidAMIID.Unavailable InvalidCidr.InUse InvalidCustomerGatewayState InvalidGroup.InUse
        InvalidHostState InvalidInstanceState InvalidIPAddress.InUse InvalidNetworkInterface.InUse
        InvalidPlacementGroup.InUse InvalidRoute.InvalidState InvalidSnapshot.InUse InvalidState
        InvalidStateTransition InvalidVpcState InvalidVpnConnection.InvalidState
        InvalidVpnGatewayState LegacySecurityGroup NlbInUseByTrafficMirrorTargetException
        OperationNotPermitted PendingVerification Resource.AlreadyAssigned
        Resource.AlreadyAssociated TrafficMirrorFilterInUse TrafficMirrorTargetInUseException
        UnsupportedOperation VolumeInUse""",
    "INVALID_ARGUMENT": """
        AttachmentLimitExceeded BootForVolumeTypeUnsupported Client.InvalidSnapshot.NotFound
        ClientInvalidParameterValue EncryptedVolumesNotSupported
        InstanceCreditSpecification.NotSupported InvalidAMIID.Malformed InvalidAMIID.NotFound
        InvalidAction InvalidAffinity InvalidAttachment.NotFound InvalidAvailabilityZone
        InvalidBlockDeviceMapping InvalidCapacityReservationId.Malformed
        InvalidCapacityReservationId.NotFound InvalidCharacter InvalidClientToken InvalidFilter
        InvalidGroup.NotFound InvalidGroupId.Malformed InvalidHostConfiguration
        InvalidHostID.NotFound
        InvalidIamInstanceProfileArn.Malformed InvalidID InvalidInput InvalidInstanceID
        InvalidInstanceID.Malformed InvalidInstanceType InvalidInterface.IpAddressLimitExceeded
        InvalidKeyPair.NotFound InvalidLaunchTargets InvalidMaxResults
        InvalidNetworkInterfaceID.NotFound InvalidParameter InvalidParameterCombination
        InvalidParameterDependency InvalidParameterValue InvalidPlacementGroup.Unknown
        InvalidPlacementGroupId.Malformed InvalidProductInfo InvalidQueryParameter InvalidRequest
        InvalidSecurityGroupID.NotFound InvalidSnapshot.NotFound InvalidSubnet
        InvalidSubnetID.Malformed InvalidSubnetID.NotFound InvalidSubnetId.NotFound
        InvalidTagKey.Malformed InvalidTenancy InvalidUserID.Malformed InvalidVolume.NotFound
        InvalidVolumeID.Malformed InvalidVpcID.NotFound InvalidZone.NotFound LimitPriceExceeded
        MalformedQueryString MissingAction MissingInput MissingParameter NatGatewayMalformed
        NatGatewayNotFound NetworkInterfaceNotSupported PrivateIpAddressLimitExceeded
        RequestResourceCountExceeded ResourceCountExceeded SecurityGroupLimitExceeded
        SecurityGroupsPerInstanceLimitExceeded SecurityGroupsPerInterfaceLimitExceeded
        TagLimitExceeded TagPolicyViolation UnknownParameter UnknownPrincipalType.Unsupported
        UnknownVolumeType UnsupportedException UnsupportedHibernationConfiguration
        UnsupportedHostConfiguration UnsupportedInstanceAttribute UnsupportedInstanceTypeOnHost
        UnsupportedProtocol UnsupportedTenancy VPCIdNotSpecified VPCResourceNotSpecified
        ValidationError VolumeIOPSLimit ZonesMismatched""",
    # Defects of the driver itself, and errors of calls that it does not make
    "INTERNAL": """
        AsnConflict ClientVpnEndpointAssociationExists DeleteConversionTaskError
        DeclarativePoliciesNotEnabledException DiskImageSizeTooLarge DryRunOperation
        DuplicateSubnetsInSameZone FilterLimitExceeded FlowLogAlreadyExists Gateway.NotAttached
        HostAlreadyCoveredByReservation IdempotentParameterMismatch
        InstanceEventStartTimeCannotChange NetworkAclEntryAlreadyExists NoSuchVersion
        NonEBSInstance NotExportable RouteAlreadyExists ScheduledInstanceParameterMismatch
        SnapshotCopyUnsupported.InterRegion TrafficMirrorFilterRuleAlreadyExists
        VpcPeeringConnectionAlreadyExists SomethingNew""",
}


@pytest.mark.parametrize("expected", CODES)
def test_every_error_of_ec2_is_mapped_on_purpose(expected: str) -> None:
    """C13, C44."""
    kinds = {code: refusal(code, "so it is").code.name for code in CODES[expected].split()}
    assert {code: kind for code, kind in kinds.items() if kind != expected} == {}


def test_no_error_means_out_of_range() -> None:
    """For MCM, OUT_OF_RANGE means that a machine has several VMs, so it looks for orphans."""
    assert "OUT_OF_RANGE" not in CODES
