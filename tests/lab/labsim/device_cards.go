// Network cards of a VM while its hardware is being changed.
package main

import (
	"crypto/sha1"
	"fmt"

	"github.com/vmware/govmomi/vim25/types"
)

func (e *deviceEdit) addCard(index int, card *types.VirtualEthernetCard) types.BaseMethodFault {
	if fault := e.hub.resolveNetwork(index, card); fault != nil {
		return fault
	}
	card.Key = e.freeKey(4000)
	unit := card.Key - 4000 + 7
	card.ControllerKey, card.UnitNumber = 100, &unit
	e.address(card, "")
	if card.Connectable == nil {
		card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true}
	}
	return nil
}

// editCard keeps the address of a card, and lets a card stay on a network that does not exist here if it was there before.
func (e *deviceEdit) editCard(index int, old, card *types.VirtualEthernetCard) types.BaseMethodFault {
	if !(dangling(old) && backingName(old) == backingName(card)) {
		if fault := e.hub.resolveNetwork(index, card); fault != nil {
			return fault
		}
	}
	e.address(card, old.MacAddress)
	if card.AddressType == "" {
		card.AddressType = old.AddressType
	}
	return nil
}

// address gives a card the address it asks for, else the one it had, else one that no other card of a lab has.
func (e *deviceEdit) address(card *types.VirtualEthernetCard, old string) {
	if card.MacAddress == "" {
		card.MacAddress = old
	}
	if card.MacAddress == "" {
		sum := sha1.Sum(fmt.Appendf(nil, "%s nic %d", e.seed, card.Key))
		card.MacAddress = fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|sum[0]&0x3f, sum[1], sum[2])
		card.AddressType = string(types.VirtualEthernetCardMacTypeAssigned)
	}
	if card.AddressType == "" {
		card.AddressType = string(types.VirtualEthernetCardMacTypeManual)
	}
}
